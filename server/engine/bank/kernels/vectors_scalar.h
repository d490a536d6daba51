// The inner loops for any processor; the compiler makes of them what it can.

#pragma once

#include "numbers.h"

namespace loralloy {

constexpr int64_t kTokenTile = 4;  // tokens that share one pass over a weight

template <typename T>
inline void add_row(T* row, const float* sum) {
  for (int64_t c = 0; c < kColumnTile; ++c)
    row[c] = static_cast<T>(static_cast<float>(row[c]) + sum[c]);
}

template <typename T, int N, int M>
inline void dot_tile(const T* const* x, const T* a, int64_t stride, int64_t in, float (*out)[M]) {
  for (int t = 0; t < N; ++t)
    for (int r = 0; r < M; ++r) {
      float sum = 0.f;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < in; ++i)
        sum = multiply_add(static_cast<float>(x[t][i]), static_cast<float>(a[r * stride + i]), sum);
      out[t][r] = sum;
    }
}

template <typename T, int N>
inline void expand_tile(const float* const* h, const T* b, int64_t stride, int64_t rank,
                        float* const* acc) {
  for (int64_t r = 0; r < rank; ++r)
    for (int t = 0; t < N; ++t) {
      const float v = h[t][r];
#pragma omp simd
      for (int64_t c = 0; c < kColumnTile; ++c)
        acc[t][c] = multiply_add(v, static_cast<float>(b[r * stride + c]), acc[t][c]);
    }
}

}  // namespace loralloy
