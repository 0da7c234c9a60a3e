"""PyTorch's own test tables, without what importing them does to the whole process."""

import warnings

import hypothesis
import torch


def _imported():
    profile = hypothesis.settings.get_current_profile_name()
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_modules import module_db
    from torch.testing._internal.common_nn import get_new_module_tests

    # the import loads a hypothesis profile of its own and freezes the flags of torch.backends
    hypothesis.settings.load_profile(profile)
    setattr(torch.backends, "__allow_nonbracketed_mutation_flag", True)
    return op_db, module_db, get_new_module_tests()


def _prepare_forward_mode():
    """Import now what the first dual number imports: PyTorch warns there of its own use of jit."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
        from torch._decomp import decompositions_for_jvp  # noqa: F401


op_db, module_db, new_module_tests = _imported()
_prepare_forward_mode()
