"""Scaling laws: one file each, one class each."""

from bayesmix.laws.additive import Additive as Additive
from bayesmix.laws.base import Bijection as Bijection
from bayesmix.laws.base import Coordinates as Coordinates
from bayesmix.laws.base import Law as Law
from bayesmix.laws.bimix import BiMix as BiMix
from bayesmix.laws.capacity import Capacity as Capacity
from bayesmix.laws.chinchilla import Chinchilla as Chinchilla
from bayesmix.laws.dcpt import DCPT as DCPT
from bayesmix.laws.exponential import Exponential as Exponential
from bayesmix.laws.full import Full as Full
from bayesmix.laws.joint import Joint as Joint
from bayesmix.laws.repeated import Repeated as Repeated
from bayesmix.laws.repeated import effective_tokens as effective_tokens
from bayesmix.laws.simple import Simple as Simple
