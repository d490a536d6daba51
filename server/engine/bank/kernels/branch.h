// Which of the kernel's branches this is, by the processor that it is compiled for. A macro picks a
// lesser one than the processor allows, so that tests reach it: LORALLOY_SCALAR, LORALLOY_AVX2.

#pragma once

#if defined(__AVX512F__) && defined(__AVX512DQ__) && !defined(LORALLOY_AVX2) && \
    !defined(LORALLOY_SCALAR)
#define LORALLOY_BRANCH "avx512"
#define LORALLOY_USES_AVX512
#elif defined(__AVX2__) && defined(__FMA__) && !defined(LORALLOY_SCALAR)
#define LORALLOY_BRANCH "avx2"
#define LORALLOY_USES_AVX2
#else
#define LORALLOY_BRANCH "scalar"
#endif

// The operator library that this kernel belongs to; branches under test have one each.
#if !defined(LORALLOY_LIBRARY)
#define LORALLOY_LIBRARY loralloy
#endif
