"""How engines of one process share a machine's cores.

A photo alone does not keep all cores busy: stages of others must fill the gaps. So a CPU gets an engine a core, up to
MOST_ENGINES, each in a thread of its own. A compiled network takes whatever cores are free, since OpenVINO's pool of
threads is one for the whole process; all else stays within its engine's share, as PyTorch's pools would fight.
"""

import torch

from models.engine.precision import default_device

# More would keep no more cores busy, and each holds buffers of its own.
MOST_ENGINES = 4


def engine_threads() -> list[int]:
    """One entry an engine that the default device should have: the threads for `limit_threads`."""
    if default_device().type == "cuda":
        return [torch.get_num_threads()]
    cores = torch.get_num_threads()
    engines = min(cores, MOST_ENGINES)
    return [cores // engines] * engines


def limit_threads(threads: int) -> None:
    """Of what PyTorch and label upsampling do in the calling thread."""
    torch.set_num_threads(threads)
