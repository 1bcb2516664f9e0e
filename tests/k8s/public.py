"""An overlay as a user would write it, whose service is open to the world."""

import os
from pathlib import Path

from tests.k8s.manifests import K8S, Manifest, build


def public_overlay(folder: Path) -> list[Manifest]:
    """overlays/gpu with components/public, built in an empty `folder`."""
    k8s = os.path.relpath(K8S.resolve(), folder.resolve())
    (folder / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\n"
        "kind: Kustomization\n"
        "namespace: segserve\n"
        f"resources: [{k8s}/overlays/gpu]\n"
        f"components: [{k8s}/components/public]\n"
    )
    return build(folder)
