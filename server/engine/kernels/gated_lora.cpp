// The gated bank on CPU: for each token t and each adapter slot k with a gate,
//
//     z_k = A_k x_t                                   shrink, accumulated in fp32
//     h_k = inner[t,k] z_k                            plain token    (combination "cat")
//     h_k = outer[t,k] Σ_i inner[t,i] z_i             crossed token  (the two "linear" rules)
//     y_t += Σ_k B_k h_k                              expand, accumulated in fp32, added once
//
// Few tokens (decoding): only (slot, token) pairs with a gate are computed, in rows of the slot's
// true rank; a token without gates is never read or written. Many tokens (prefill): the slots in
// use are gathered and two matrix products per module do the work.
//
// Layouts: A is [slots, 1, max_rank, in]; B is [slots, 1, out, max_rank] to its readers, but stored
// with the outputs contiguous, so that the expand needs no horizontal sums.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {

using at::BFloat16;
using at::Tensor;

constexpr int64_t kTokenTile = 4;      // tokens that share one pass over a weight
constexpr int64_t kRowTile = 4;        // rows of A in flight
constexpr int64_t kColumnTile = 64;    // outputs that one thread finishes at a time
constexpr int64_t kTokensPerThread = 64;    // fewest tokens that a thread is woken for
constexpr int64_t kParallelWork = 1 << 17;  // multiply-adds below which one thread is faster

// What one step applies, the same for every module; filled before the forward pass.
struct Step {
  int64_t slots;            // slots in use
  const int32_t* slot;      // [slots + 1, 3]: slot, rank, first pair (the last row closes the list)
  const int32_t* token;     // [pairs]: the pairs' tokens, slot by slot
  const float* inner;       // [max_tokens, max_slots]
  const float* outer;       // [max_tokens, max_slots]
  const uint8_t* crossed;   // [max_tokens]
  int64_t width;            // max_slots
  int64_t pairs() const { return slot[slots * 3 + 2]; }
  int32_t id(int64_t j) const { return slot[j * 3]; }
  int32_t rank(int64_t j) const { return slot[j * 3 + 1]; }
  int32_t first(int64_t j) const { return slot[j * 3 + 2]; }
};

Step read_step(at::TensorList parts) {
  const int32_t* header = parts[0].const_data_ptr<int32_t>();
  return Step{header[1],
              parts[1].const_data_ptr<int32_t>(),
              parts[2].const_data_ptr<int32_t>(),
              parts[3].const_data_ptr<float>(),
              parts[4].const_data_ptr<float>(),
              parts[5].const_data_ptr<uint8_t>(),
              parts[3].size(1)};
}

#if defined(__AVX512F__)

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

#else

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
        sum += static_cast<float>(x[t][i]) * static_cast<float>(a[r * stride + i]);
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
        acc[t][c] += v * static_cast<float>(b[r * stride + c]);
    }
}

#endif

template <typename T>
void shrink_rows(const T* const* x, int64_t n, const T* a, int64_t rows, int64_t in,
                 float* const* z) {
  const auto run = [&]<int N, int M>() {
    float out[N][M];
    dot_tile<T, N, M>(x, a, in, in, out);
    for (int t = 0; t < N; ++t)
      for (int r = 0; r < M; ++r) z[t][r] = out[t][r];
  };
  const auto by_rows = [&]<int N>() {
    switch (rows) {
      case 4: return run.template operator()<N, 4>();
      case 3: return run.template operator()<N, 3>();
      case 2: return run.template operator()<N, 2>();
      default: return run.template operator()<N, 1>();
    }
  };
  switch (n) {
    case 4: return by_rows.template operator()<4>();
    case 3: return by_rows.template operator()<3>();
    case 2: return by_rows.template operator()<2>();
    default: return by_rows.template operator()<1>();
  }
}

template <typename T>
void expand_columns(const float* const* h, int64_t n, const T* b, int64_t stride, int64_t rank,
                    int64_t columns, float* const* acc) {
  if (columns == kColumnTile) {
    switch (n) {
      case 4: return expand_tile<T, 4>(h, b, stride, rank, acc);
      case 3: return expand_tile<T, 3>(h, b, stride, rank, acc);
      case 2: return expand_tile<T, 2>(h, b, stride, rank, acc);
      default: return expand_tile<T, 1>(h, b, stride, rank, acc);
    }
  }
  for (int64_t r = 0; r < rank; ++r)
    for (int64_t t = 0; t < n; ++t)
      for (int64_t c = 0; c < columns; ++c)
        acc[t][c] += h[t][r] * static_cast<float>(b[r * stride + c]);
}

// z [pairs, max_rank] becomes h in place.
void apply_gates(const Step& step, float* z, int64_t max_rank, int64_t tokens) {
  bool any_crossed = false;
  for (int64_t j = 0; j < step.slots; ++j)
    for (int64_t p = step.first(j); p < step.first(j + 1); ++p) {
      const int64_t t = step.token[p];
      any_crossed |= step.crossed[t] != 0;
      const float gate = step.inner[t * step.width + step.id(j)];
      for (int64_t r = 0; r < step.rank(j); ++r) z[p * max_rank + r] *= gate;
    }
  if (!any_crossed) return;
  std::vector<float> cross(tokens * max_rank, 0.f);
  for (int64_t j = 0; j < step.slots; ++j)
    for (int64_t p = step.first(j); p < step.first(j + 1); ++p) {
      const int64_t t = step.token[p];
      if (step.crossed[t])
        for (int64_t r = 0; r < step.rank(j); ++r)
          cross[t * max_rank + r] += z[p * max_rank + r];
    }
  for (int64_t j = 0; j < step.slots; ++j)
    for (int64_t p = step.first(j); p < step.first(j + 1); ++p) {
      const int64_t t = step.token[p];
      if (!step.crossed[t]) continue;
      const float gate = step.outer[t * step.width + step.id(j)];
      for (int64_t r = 0; r < step.rank(j); ++r)
        z[p * max_rank + r] = gate * cross[t * max_rank + r];
    }
}

struct Item {  // a block of rows of one slot of one slice (shrink), or of columns (expand)
  int32_t slice;
  int32_t slot;
  int32_t begin;
  int32_t end;
};

struct Scratch {  // reused between calls; a worker runs one forward pass at a time
  std::vector<float> z;
  std::vector<Item> shrink;
  std::vector<Item> expand;
};

template <typename T>
void few_tokens(Tensor& y, const Tensor& x, at::TensorList a, at::TensorList b,
                at::IntArrayRef slices, const Step& step) {
  thread_local Scratch scratch;
  const int64_t tokens = x.size(0), in = x.size(1), y_stride = y.stride(0);
  const int64_t max_rank = a[0].size(2), pairs = step.pairs();
  const T* xs = x.const_data_ptr<T>();
  T* ys = y.mutable_data_ptr<T>();
  const int64_t count = static_cast<int64_t>(a.size());

  scratch.z.resize(count * pairs * max_rank);
  scratch.shrink.clear();
  scratch.expand.clear();
  int64_t work = 0, offset = 0;
  std::vector<int64_t> offsets;
  for (int64_t s = 0; s < count; ++s) {
    offsets.push_back(offset);
    for (int64_t j = 0; j < step.slots; ++j) {
      for (int32_t r = 0; r < step.rank(j); r += kRowTile)
        scratch.shrink.push_back({int32_t(s), int32_t(j), r,
                                  std::min<int32_t>(r + kRowTile, step.rank(j))});
      work += (step.first(j + 1) - step.first(j)) * step.rank(j) * (in + slices[s]);
    }
    for (int32_t c = 0; c < slices[s]; c += kColumnTile)
      scratch.expand.push_back(
          {int32_t(s), 0, c, int32_t(std::min<int64_t>(c + kColumnTile, slices[s]))});
    offset += slices[s];
  }
  float* z_all = scratch.z.data();
  const std::vector<Item>& shrink = scratch.shrink;
  const std::vector<Item>& expand = scratch.expand;

#pragma omp parallel if (work > kParallelWork)
  {
#pragma omp for schedule(static)
    for (size_t n = 0; n < shrink.size(); ++n) {
      const Item item = shrink[n];
      const T* weight = a[item.slice].const_data_ptr<T>() +
                        step.id(item.slot) * a[item.slice].stride(0) + item.begin * in;
      float* z = z_all + item.slice * pairs * max_rank;
      const int64_t last = step.first(item.slot + 1);
      for (int64_t p = step.first(item.slot); p < last; p += kTokenTile) {
        const T* rows[kTokenTile];
        float* out[kTokenTile];
        const int64_t n_tokens = std::min(kTokenTile, last - p);
        for (int64_t t = 0; t < n_tokens; ++t) {
          rows[t] = xs + step.token[p + t] * x.stride(0);
          out[t] = z + (p + t) * max_rank + item.begin;
        }
        shrink_rows<T>(rows, n_tokens, weight, item.end - item.begin, in, out);
      }
    }
#pragma omp for schedule(static)
    for (int64_t s = 0; s < count; ++s)
      apply_gates(step, z_all + s * pairs * max_rank, max_rank, tokens);
    std::vector<float> sums(tokens * kColumnTile);
    std::vector<uint8_t> touched(tokens);
#pragma omp for schedule(static)
    for (size_t n = 0; n < expand.size(); ++n) {
      const Item item = expand[n];
      const int64_t columns = item.end - item.begin, stride = b[item.slice].stride(3);
      const float* h = z_all + item.slice * pairs * max_rank;
      std::fill(sums.begin(), sums.end(), 0.f);
      std::fill(touched.begin(), touched.end(), 0);
      for (int64_t j = 0; j < step.slots; ++j) {
        const T* weight = b[item.slice].const_data_ptr<T>() +
                          step.id(j) * b[item.slice].stride(0) + item.begin;
        const int64_t last = step.first(j + 1);
        for (int64_t p = step.first(j); p < last; p += kTokenTile) {
          const float* rows[kTokenTile];
          float* acc[kTokenTile];
          const int64_t n_tokens = std::min(kTokenTile, last - p);
          for (int64_t t = 0; t < n_tokens; ++t) {
            const int64_t token = step.token[p + t];
            rows[t] = h + (p + t) * max_rank;
            acc[t] = sums.data() + token * kColumnTile;
            touched[token] = 1;
          }
          expand_columns<T>(rows, n_tokens, weight, stride, step.rank(j), columns, acc);
        }
      }
      for (int64_t t = 0; t < tokens; ++t) {
        if (!touched[t]) continue;
        T* row = ys + t * y_stride + offsets[item.slice] + item.begin;
        if (columns == kColumnTile) {
          add_row<T>(row, sums.data() + t * kColumnTile);
          continue;
        }
        for (int64_t c = 0; c < columns; ++c)
          row[c] = static_cast<T>(static_cast<float>(row[c]) + sums[t * kColumnTile + c]);
      }
    }
  }
}

// Rows of the slots in use, cut to their ranks and stacked: [Σ rank, size]. Weights of [slots, 1,
// max_rank, size], each slot contiguous. Copied by hand: at::cat would wake all threads for it.
Tensor gather(const std::vector<Tensor>& weights, const Step& step) {
  int64_t rows = 0;
  for (int64_t j = 0; j < step.slots; ++j) rows += step.rank(j);
  const int64_t size = weights[0].size(3), each = weights[0].element_size() * size;
  Tensor stacked = at::empty({static_cast<int64_t>(weights.size()) * rows, size},
                             weights[0].options());
  char* to = static_cast<char*>(stacked.mutable_data_ptr());
  for (const Tensor& weight : weights) {
    const char* from = static_cast<const char*>(weight.const_data_ptr());
    const int64_t slot_bytes = weight.stride(0) * weight.element_size();
    for (int64_t j = 0; j < step.slots; ++j) {
      std::memcpy(to, from + step.id(j) * slot_bytes, step.rank(j) * each);
      to += step.rank(j) * each;
    }
  }
  return stacked;
}

// The gates of every token, one column per row of the gathered bank: [T, Σ rank].
Tensor spread(const Tensor& gates, const Step& step, int64_t tokens) {
  std::vector<Tensor> columns;
  for (int64_t j = 0; j < step.slots; ++j)
    columns.push_back(gates.narrow(0, 0, tokens).narrow(1, step.id(j), 1).expand(
        {tokens, step.rank(j)}));
  return at::cat(columns, 1);
}

// Replaces the rows of crossed tokens: every slot gets outer · the sum over the slots.
Tensor cross_terms(const Tensor& h, const Tensor& outer, const Tensor& crossed, const Step& step) {
  int64_t widest = 0;
  for (int64_t j = 0; j < step.slots; ++j) widest = std::max<int64_t>(widest, step.rank(j));
  Tensor total = at::zeros({h.size(0), widest}, h.options());
  int64_t begin = 0;
  for (int64_t j = 0; j < step.slots; begin += step.rank(j), ++j)
    total.narrow(1, 0, step.rank(j)).add_(h.narrow(1, begin, step.rank(j)));
  std::vector<Tensor> copies;
  for (int64_t j = 0; j < step.slots; ++j) copies.push_back(total.narrow(1, 0, step.rank(j)));
  return at::where(crossed.unsqueeze(1), at::cat(copies, 1) * outer, h);
}

void many_tokens(Tensor& y, const Tensor& x, at::TensorList a, at::TensorList b,
                 at::IntArrayRef slices, at::TensorList parts, const Step& step) {
  const int64_t tokens = x.size(0), count = static_cast<int64_t>(a.size());
  const Tensor inner = spread(parts[3], step, tokens);
  bool any_crossed = false;
  for (int64_t t = 0; t < tokens; ++t) any_crossed |= step.crossed[t] != 0;
  const Tensor crossed = any_crossed ? parts[5].narrow(0, 0, tokens).to(at::kBool) : Tensor();
  const Tensor outer = any_crossed ? spread(parts[4], step, tokens) : Tensor();
  const Tensor shrink = gather(a.vec(), step).t();
  std::vector<Tensor> expand;
  for (int64_t s = 0; s < count; ++s) expand.push_back(gather({b[s].transpose(2, 3)}, step));
  const int64_t width = inner.size(1);
  // Each thread takes a share of the tokens through everything: one rendezvous a module, where
  // parallel products would have one each, and wait for whichever thread was held up.
  at::parallel_for(0, tokens, kTokensPerThread, [&](int64_t begin, int64_t end) {
    const c10::InferenceMode guard;
    const int64_t n = end - begin;
    const Tensor z = at::mm(x.narrow(0, begin, n), shrink);
    const Tensor gates = inner.narrow(0, begin, n);
    int64_t offset = 0;
    for (int64_t s = 0; s < count; ++s) {
      Tensor h = z.narrow(1, s * width, width) * gates;  // fp32: the gates are
      if (any_crossed)
        h = cross_terms(h, outer.narrow(0, begin, n), crossed.narrow(0, begin, n), step);
      y.narrow(0, begin, n).narrow(1, offset, slices[s]).addmm_(h.to(y.scalar_type()), expand[s]);
      offset += slices[s];
    }
  });
}

// What one wrapped layer of the model owns; bound once, before the first forward pass.
struct Module {
  std::vector<Tensor> a;
  std::vector<Tensor> b;
  std::vector<int64_t> slices;
  std::vector<Tensor> step;
  int64_t few;
};

std::vector<Module>& modules() {
  static std::vector<Module> table;
  return table;
}

int64_t bind_module(at::TensorList a, at::TensorList b, at::IntArrayRef slices,
                    at::TensorList step, int64_t few) {
  modules().push_back({a.vec(), b.vec(), slices.vec(), step.vec(), few});
  return static_cast<int64_t>(modules().size()) - 1;
}

void gated_lora(Tensor y, const Tensor& x, int64_t index) {
  const Module& module = modules().at(index);
  const Step step = read_step(module.step);
  if (step.slots == 0 || x.size(0) == 0) return;
  const bool typed = x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16;
  if (!typed || step.pairs() > module.few * step.slots)
    return many_tokens(y, x, module.a, module.b, module.slices, module.step, step);
  if (x.scalar_type() == at::kFloat)
    return few_tokens<float>(y, x, module.a, module.b, module.slices, step);
  few_tokens<BFloat16>(y, x, module.a, module.b, module.slices, step);
}

}  // namespace

TORCH_LIBRARY_IMPL(loralloy, CPU, m) {
  m.impl("gated_lora", TORCH_FN(gated_lora));
  m.impl("bind_module", TORCH_FN(bind_module));
}
