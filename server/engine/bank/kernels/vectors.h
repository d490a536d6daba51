// The inner loops: dot products against rows of A, sums of rows of B, and rows written to y or h.
// A branch for each kind of processor gives all of them under the same names.

#pragma once

#include "branch.h"

#if defined(LORALLOY_USES_AVX512)
#include "vectors_avx512.h"
#elif defined(LORALLOY_USES_AVX2)
#include "vectors_avx2.h"
#else
#include "vectors_scalar.h"
#endif
