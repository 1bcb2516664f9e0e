"""An overlay as a user would write it: one that ships, with a component."""

import os
from pathlib import Path

from tests.k8s.manifests import K8S, Manifest, build, of_kind, overlay

COMPONENTS = ("public", "traces")


def composed(folder: Path, component: str, name: str = "gpu") -> list[Manifest]:
    """Built in an empty `folder`. name: of the overlay."""
    k8s = os.path.relpath(K8S.resolve(), folder.resolve())
    (namespace,) = of_kind(overlay(name), "Namespace")
    (folder / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\n"
        "kind: Kustomization\n"
        f"namespace: {namespace['metadata']['name']}\n"
        f"resources: [{k8s}/overlays/{name}]\n"
        f"components: [{k8s}/components/{component}]\n"
    )
    return build(folder)
