"""Recurrent networks: whole sequences, back-propagated through time by hand, and single cells."""

from scratchnet.recurrent.base import RNNBase
from scratchnet.recurrent.cells import GRUCell, LSTMCell, RNNCell, RNNCellBase
from scratchnet.recurrent.networks import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]
