"""The machine that the engine computes on, and what follows from it.

device         what computes: CPUs alone
processor      what it can multiply; number_format, in which numbers it then computes
cores          on which of its cores
compiler       what compiles C++ here
cache_folder   where that is kept
"""
