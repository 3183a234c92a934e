"""The modules, in files named as those of ``torch.nn.modules``."""

from scratchnet.nn.modules.activation import *
from scratchnet.nn.modules.adaptive import *
from scratchnet.nn.modules.attention import *
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
