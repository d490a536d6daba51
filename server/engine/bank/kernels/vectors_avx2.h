// The inner loops with AVX2 and FMA, for weights in fp32 and in bfloat16.
//
// A sum runs through one accumulator in the order of its elements, whatever is summed beside it: a
// row has the same bits alone, among other tokens, and in prefill (blocks.h).

#pragma once

#include <immintrin.h>

#include <algorithm>
#include <type_traits>

#include "numbers.h"

namespace loralloy {

// Accumulators stay in registers where every loop over them is unrolled.
#define UNROLL _Pragma("GCC unroll 8")

constexpr int64_t kTokenTile = 2;   // tokens that share one pass over a weight: 2 × 4 accumulators
constexpr int64_t kBlockRows = 6;   // tokens of a product of prefill: 6 × 2 accumulators
constexpr int64_t kLineBytes = 64;  // of the cache

inline __m256 load8(const float* p) { return _mm256_loadu_ps(p); }
inline __m256 load8(const BFloat16* p) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

inline void store8(float* p, __m256 v) { _mm256_storeu_ps(p, v); }
// Rounded to the nearest, ties to even, as c10::BFloat16 does.
inline void store8(BFloat16* p, __m256 v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i no_number = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  const __m256i high = _mm256_srli_epi32(
      _mm256_blendv_epi8(up, _mm256_set1_epi32(0x7fc00000), no_number), 16);
  const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(high),
                                          _mm256_extracti128_si256(high, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
}

// row[0..64) += sum[0..64)
template <typename T>
inline void add_row(T* row, const float* sum) {
  for (int c = 0; c < kColumnTile; c += 8)
    store8(row + c, _mm256_add_ps(load8(row + c), _mm256_loadu_ps(sum + c)));
}

inline float reduce8(__m256 v) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

// The same, in a register: the compiler would load it again for each of its uses.
inline __m256 kept(__m256 v) {
  asm("" : "+x"(v));
  return v;
}

// One half of sixteen elements, the halves in whatever order: dot products ask for no other.
template <int kHalf>
inline __m256 load_half(const float* p) {
  return load8(p + 8 * kHalf);
}
template <int kHalf>
inline __m256 load_half(const BFloat16* p) {
  const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm256_castsi256_ps(kHalf == 0 ? _mm256_slli_epi32(both, 16)
                                        : _mm256_and_si256(both, _mm256_set1_epi32(~0xffff)));
}

template <int kHalf, typename T, int N, int M>
inline void add_half(const T* const (&x)[N], const T* a, int64_t stride, int64_t i,
                     __m256 (&acc)[N][M]) {
  __m256 v[N];
  UNROLL for (int t = 0; t < N; ++t) v[t] = kept(load_half<kHalf>(x[t] + i));
  UNROLL for (int r = 0; r < M; ++r) {
    const __m256 row = kept(load_half<kHalf>(a + r * stride + i));
    UNROLL for (int t = 0; t < N; ++t) acc[t][r] = _mm256_fmadd_ps(v[t], row, acc[t][r]);
  }
}

// out[t][r] = Σ_i x_t[i] a_r[i] for a tile of tokens and rows.
template <typename T, int N, int M>
inline void dot_tile(const T* const* x, const T* a, int64_t stride, int64_t in, float (*out)[M]) {
  static_assert(N <= kTokenTile && M <= 4, "more accumulators than registers");
  __m256 acc[N][M];
  UNROLL for (int t = 0; t < N; ++t)
    UNROLL for (int r = 0; r < M; ++r) acc[t][r] = _mm256_setzero_ps();
  const T* rows[N];
  UNROLL for (int t = 0; t < N; ++t) rows[t] = x[t];
  int64_t i = 0;
  for (; i + 16 <= in; i += 16) {
    add_half<0, T, N, M>(rows, a, stride, i, acc);
    add_half<1, T, N, M>(rows, a, stride, i, acc);
  }
  UNROLL for (int t = 0; t < N; ++t)
    UNROLL for (int r = 0; r < M; ++r) out[t][r] = reduce8(acc[t][r]);
  for (; i < in; ++i)
    for (int t = 0; t < N; ++t)
      for (int r = 0; r < M; ++r)
        out[t][r] = multiply_add(static_cast<float>(x[t][i]), static_cast<float>(a[r * stride + i]),
                                 out[t][r]);
}

// acc[t][0..64) += Σ_r h_t[r] b_r[0..64), b_r contiguous.
template <typename T, int N>
inline void expand_tile(const float* const* h, const T* b, int64_t stride, int64_t rank,
                        float* const* acc) {
  constexpr int kVectors = N == 1 ? 8 : 4;  // at a time
  for (int begin = 0; begin < kColumnTile; begin += 8 * kVectors) {
    __m256 sum[N][kVectors];
    UNROLL for (int t = 0; t < N; ++t)
      UNROLL for (int c = 0; c < kVectors; ++c) sum[t][c] = _mm256_loadu_ps(acc[t] + begin + 8 * c);
    for (int64_t r = 0; r < rank; ++r) {
      const T* row = b + r * stride + begin;
      // The next columns of this row: rows are far apart, which no hardware prefetcher foresees.
      for (int64_t o = 0; o < int64_t(8 * kVectors * sizeof(T)); o += kLineBytes)
        _mm_prefetch(reinterpret_cast<const char*>(row + kColumnTile) + o, _MM_HINT_T0);
      __m256 gate[N];
      UNROLL for (int t = 0; t < N; ++t) gate[t] = _mm256_broadcast_ss(h[t] + r);
      UNROLL for (int c = 0; c < kVectors; ++c) {
        const __m256 v = load8(row + 8 * c);
        UNROLL for (int t = 0; t < N; ++t) sum[t][c] = _mm256_fmadd_ps(gate[t], v, sum[t][c]);
      }
    }
    UNROLL for (int t = 0; t < N; ++t)
      UNROLL for (int c = 0; c < kVectors; ++c) _mm256_storeu_ps(acc[t] + begin + 8 * c, sum[t][c]);
  }
}

// to[0..n) = from[0..n) in fp32.
template <typename T>
inline void widen(const T* from, int64_t n, float* to) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(to + i, load8(from + i));
  for (; i < n; ++i) to[i] = static_cast<float>(from[i]);
}

// y_t[0..16) += Σ_d h_t[d] b_d[0..16) for N tokens. `columns` of the 16 are there.
template <typename T, int N>
inline void block_tile(const float* h, int64_t h_stride, const float* b, int64_t b_stride,
                       int64_t depth, T* const* y, int64_t columns) {
  static_assert(N <= kBlockRows, "more accumulators than registers");
  __m256 sum[N][2];
  UNROLL for (int t = 0; t < N; ++t) sum[t][0] = sum[t][1] = _mm256_setzero_ps();
  for (int64_t d = 0; d < depth; ++d) {
    const __m256 left = _mm256_loadu_ps(b + d * b_stride);
    const __m256 right = _mm256_loadu_ps(b + d * b_stride + 8);
    UNROLL for (int t = 0; t < N; ++t) {
      const __m256 gate = _mm256_broadcast_ss(h + t * h_stride + d);
      sum[t][0] = _mm256_fmadd_ps(gate, left, sum[t][0]);
      sum[t][1] = _mm256_fmadd_ps(gate, right, sum[t][1]);
    }
  }
  UNROLL for (int t = 0; t < N; ++t) {
    if (columns >= 16) {
      store8(y[t], _mm256_add_ps(load8(y[t]), sum[t][0]));
      store8(y[t] + 8, _mm256_add_ps(load8(y[t] + 8), sum[t][1]));
      continue;
    }
    alignas(32) float lanes[16];
    _mm256_store_ps(lanes, sum[t][0]);
    _mm256_store_ps(lanes + 8, sum[t][1]);
    for (int64_t c = 0; c < columns; ++c)
      y[t][c] = static_cast<T>(static_cast<float>(y[t][c]) + lanes[c]);
  }
}

}  // namespace loralloy
