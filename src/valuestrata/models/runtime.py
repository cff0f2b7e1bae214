"""Settings of the process that runs a model."""

import torch


def prepare(threads: int) -> None:
    """Use as many threads as the rule was given, and keep progress bars out of logs.

    A second busy process makes torch many times slower once both use all cores.
    """
    import transformers

    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
