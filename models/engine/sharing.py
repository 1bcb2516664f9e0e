"""How engines of one process share a machine's cores.

A photo alone does not keep all cores busy: stages of others must fill the gaps. So a CPU gets an engine a core, up to
MOST_ENGINES, each in a thread of its own. A compiled network takes whatever cores are free, since OpenVINO's pool of
threads is one for the whole process; all else stays within its engine's share, as PyTorch's pools would fight.

A GPU gets two, each with a stream of its own: while one computes, the other's photos and label maps are on their way.
"""

import torch

from models.engine.precision import default_device

# More would keep no more cores busy, and each holds buffers of its own.
MOST_ENGINES = 4
ENGINES_A_GPU = 2


def engine_threads() -> list[int]:
    """One entry an engine that the default device should have: the threads for `enter`."""
    cores = torch.get_num_threads()
    engines = ENGINES_A_GPU if default_device().type == "cuda" else min(cores, MOST_ENGINES)
    return [max(1, cores // engines)] * engines


def enter(threads: int) -> None:
    """Make the calling thread an engine's: `threads` for what PyTorch and label upsampling do in it, and a stream."""
    torch.set_num_threads(threads)
    if default_device().type == "cuda":
        torch.cuda.set_stream(torch.cuda.Stream())  # type: ignore[no-untyped-call]
