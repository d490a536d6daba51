// What all branches share: number formats, sizes, one multiplication with an addition.

#pragma once

#include <c10/util/BFloat16.h>

#include <cmath>
#include <cstdint>

namespace loralloy {

using at::BFloat16;

constexpr int64_t kColumnTile = 64;  // outputs that one thread finishes at a time

// a · b + c, rounded once where the processor can: a row's last elements then have the same bits,
// whatever loop they go through.
inline float multiply_add(float a, float b, float c) {
#if defined(FP_FAST_FMAF)
  return std::fma(a, b, c);
#else
  return a * b + c;
#endif
}

// Calls `work.operator()<n>()`: a number that is known where the loops over it are unrolled.
template <int kMost, typename Work>
inline void with_count(int64_t n, Work work) {
  if constexpr (kMost > 1)
    if (n < kMost) return with_count<kMost - 1>(n, work);
  work.template operator()<kMost>();
}

}  // namespace loralloy
