// The inner loops with AVX-512, and its bfloat16 products where there are any.

#pragma once

#include <immintrin.h>

#include <type_traits>

#include "numbers.h"

namespace loralloy {

constexpr int64_t kTokenTile = 4;  // tokens that share one pass over a weight

inline __m512 load16(const float* p) { return _mm512_loadu_ps(p); }
inline __m512 load16(const BFloat16* p) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

inline void store16(float* p, __m512 v) { _mm512_storeu_ps(p, v); }
inline void store16(BFloat16* p, __m512 v) {
#if defined(__AVX512BF16__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(v));
#else
  alignas(64) float lanes[16];
  _mm512_store_ps(lanes, v);
  for (int i = 0; i < 16; ++i) p[i] = BFloat16(lanes[i]);
#endif
}

// row[0..64) += sum[0..64)
template <typename T>
inline void add_row(T* row, const float* sum) {
  for (int c = 0; c < kColumnTile; c += 16)
    store16(row + c, _mm512_add_ps(load16(row + c), _mm512_loadu_ps(sum + c)));
}

// to[0..n) = gate · from[0..n), rounded to bfloat16.
inline void scale_row(float gate, const float* from, int64_t n, BFloat16* to) {
  const __m512 factor = _mm512_set1_ps(gate);
  for (; n >= 16; n -= 16, from += 16, to += 16)
    store16(to, _mm512_mul_ps(factor, _mm512_loadu_ps(from)));
  for (int64_t i = 0; i < n; ++i) to[i] = BFloat16(gate * from[i]);
}

// The sums of four vectors' lanes, in the four lanes of the result.
inline __m128 reduce4(__m512 a, __m512 b, __m512 c, __m512 d) {
  const auto fold = [](__m512 v) {
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  };
  return _mm_hadd_ps(_mm_hadd_ps(fold(a), fold(b)), _mm_hadd_ps(fold(c), fold(d)));
}

// out[t][r] = Σ_i x_t[i] a_r[i] for a tile of tokens and rows.
template <typename T, int N, int M>
inline void dot_tile(const T* const* x, const T* a, int64_t stride, int64_t in, float (*out)[M]) {
  __m512 acc[N][M];
  for (int t = 0; t < N; ++t)
    for (int r = 0; r < M; ++r) acc[t][r] = _mm512_setzero_ps();
  int64_t i = 0;
#if defined(__AVX512BF16__)
  if constexpr (std::is_same_v<T, BFloat16>) {
    for (; i + 32 <= in; i += 32) {
      __m512bh row[M];
      for (int r = 0; r < M; ++r) {
        row[r] = (__m512bh)_mm512_loadu_si512(a + r * stride + i);
        _mm_prefetch(a + (r + M) * stride + i, _MM_HINT_T0);  // the rows of the next tile
      }
      for (int t = 0; t < N; ++t) {
        const __m512bh v = (__m512bh)_mm512_loadu_si512(x[t] + i);
        for (int r = 0; r < M; ++r) acc[t][r] = _mm512_dpbf16_ps(acc[t][r], v, row[r]);
      }
    }
  }
#endif
  for (; i + 16 <= in; i += 16) {
    __m512 row[M];
    for (int r = 0; r < M; ++r) row[r] = load16(a + r * stride + i);
    for (int t = 0; t < N; ++t) {
      const __m512 v = load16(x[t] + i);
      for (int r = 0; r < M; ++r) acc[t][r] = _mm512_fmadd_ps(v, row[r], acc[t][r]);
    }
  }
  for (int t = 0; t < N; ++t) {
    if constexpr (M == 4)
      _mm_storeu_ps(out[t], reduce4(acc[t][0], acc[t][1], acc[t][2], acc[t][3]));
    else
      for (int r = 0; r < M; ++r) out[t][r] = _mm512_reduce_add_ps(acc[t][r]);
    for (int r = 0; r < M; ++r)
      for (int64_t k = i; k < in; ++k)
        out[t][r] += static_cast<float>(x[t][k]) * static_cast<float>(a[r * stride + k]);
  }
}

// acc[t][0..64) += Σ_r h_t[r] b_r[0..64), b_r contiguous.
template <typename T, int N>
inline void expand_tile(const float* const* h, const T* b, int64_t stride, int64_t rank,
                        float* const* acc) {
  __m512 sum[N][4];
  for (int t = 0; t < N; ++t)
    for (int c = 0; c < 4; ++c) sum[t][c] = _mm512_loadu_ps(acc[t] + 16 * c);
  for (int64_t r = 0; r < rank; ++r) {
    __m512 row[4];
    for (int c = 0; c < 4; ++c) row[c] = load16(b + r * stride + 16 * c);
    // The next columns of this row: rows are far apart, which no hardware prefetcher foresees.
    _mm_prefetch(b + r * stride + kColumnTile, _MM_HINT_T0);
    _mm_prefetch(b + r * stride + kColumnTile + 64 / sizeof(T), _MM_HINT_T0);
    for (int t = 0; t < N; ++t) {
      const __m512 v = _mm512_set1_ps(h[t][r]);
      for (int c = 0; c < 4; ++c) sum[t][c] = _mm512_fmadd_ps(v, row[c], sum[t][c]);
    }
  }
  for (int t = 0; t < N; ++t)
    for (int c = 0; c < 4; ++c) _mm512_storeu_ps(acc[t] + 16 * c, sum[t][c]);
}

}  // namespace loralloy
