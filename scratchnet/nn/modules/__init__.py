"""The modules, in files named as those of ``torch.nn.modules``.

Bases and helpers that torch's files define and ours do not (``_Loss``, ``_DropoutNd`` …) are found in ours too.
"""

import importlib
import pkgutil
from functools import partial

import torch.nn.modules

from scratchnet.nn.modules.activation import *
from scratchnet.nn.modules.adaptive import *
from scratchnet.nn.modules.batchnorm import *
from scratchnet.nn.modules.channelshuffle import *
from scratchnet.nn.modules.container import *
from scratchnet.nn.modules.conv import *
from scratchnet.nn.modules.distance import *
from scratchnet.nn.modules.dropout import *
from scratchnet.nn.modules.fold import *
from scratchnet.nn.modules.instancenorm import *
from scratchnet.nn.modules.linear import *
from scratchnet.nn.modules.loss import *
from scratchnet.nn.modules.normalization import *
from scratchnet.nn.modules.padding import *
from scratchnet.nn.modules.pixelshuffle import *
from scratchnet.nn.modules.pooling import *
from scratchnet.nn.modules.rnn import *
from scratchnet.nn.modules.sparse import *
from scratchnet.nn.modules.svm import *
from scratchnet.nn.modules.transformer import *
from scratchnet.nn.modules.upsampling import *

for _file in pkgutil.iter_modules(__path__):
    if hasattr(torch.nn.modules, _file.name):
        _theirs = getattr(torch.nn.modules, _file.name)
        vars(importlib.import_module(f"{__name__}.{_file.name}"))["__getattr__"] = partial(getattr, _theirs)
