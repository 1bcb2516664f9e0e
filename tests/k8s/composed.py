"""A kustomization as a user would write it: one that ships, with a component."""

import os
from pathlib import Path

from tests.k8s.manifests import K8S, Manifest, build, of_kind

COMPONENTS = ("public", "traces")


def composed(folder: Path, component: str, shipped: str = "overlays/gpu") -> list[Manifest]:
    """Built in an empty `folder`. shipped: by its path in k8s."""
    k8s = os.path.relpath(K8S.resolve(), folder.resolve())
    (namespace,) = of_kind(build(K8S / shipped), "Namespace")
    (folder / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\n"
        "kind: Kustomization\n"
        f"namespace: {namespace['metadata']['name']}\n"
        f"resources: [{k8s}/{shipped}]\n"
        f"components: [{k8s}/components/{component}]\n"
    )
    return build(folder)
