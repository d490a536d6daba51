// Few tokens (decoding): only (slot, token) pairs with a gate are computed, in rows of the slot's
// true rank; a token without gates is never read or written.

#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <vector>

#include "step.h"
#include "vectors.h"

namespace loralloy {

using at::Tensor;

constexpr int64_t kRowTile = 4;             // rows of A in flight
constexpr int64_t kParallelWork = 1 << 17;  // multiply-adds below which one thread is faster

template <typename T>
void shrink_rows(const T* const* x, int64_t n, const T* a, int64_t rows, int64_t in,
                 float* const* z) {
  with_count<kTokenTile>(n, [&]<int N>() {
    with_count<kRowTile>(rows, [&]<int M>() {
      float out[N][M];
      dot_tile<T, N, M>(x, a, in, in, out);
      for (int t = 0; t < N; ++t)
        for (int r = 0; r < M; ++r) z[t][r] = out[t][r];
    });
  });
}

template <typename T>
void expand_columns(const float* const* h, int64_t n, const T* b, int64_t stride, int64_t rank,
                    int64_t columns, float* const* acc) {
  if (columns == kColumnTile)
    return with_count<kTokenTile>(n, [&]<int N>() {
      expand_tile<T, N>(h, b, stride, rank, acc);
    });
  for (int64_t r = 0; r < rank; ++r)
    for (int64_t t = 0; t < n; ++t)
      for (int64_t c = 0; c < columns; ++c)
        acc[t][c] = multiply_add(h[t][r], static_cast<float>(b[r * stride + c]), acc[t][c]);
}

inline bool any_crossed(const Step& step) {
  bool found = false;
  for (int64_t t = 0; t < step.tokens; ++t) found |= step.crossed[t] != 0;
  return found;
}

// Of z [pairs, max_rank], which the inner gates are in, the rows of crossed tokens become h.
inline void cross(const Step& step, float* z) {
  std::vector<float> cross(step.tokens * step.max_rank, 0.f);
  for (int64_t j = 0; j < step.slots; ++j)
    for (int64_t p = step.first(j); p < step.first(j + 1); ++p) {
      if (!step.crossed[step.token[p]]) continue;
      float* sum = cross.data() + step.token[p] * step.max_rank;
      const float* part = z + p * step.max_rank;
      for (int64_t r = 0; r < step.rank(j); ++r) sum[r] += part[r];
    }
  for (int64_t j = 0; j < step.slots; ++j)
    for (int64_t p = step.first(j); p < step.first(j + 1); ++p)
      if (step.crossed[step.token[p]])
        cross_row(step.outer_of(step.token[p], j), cross.data() + step.token[p] * step.max_rank,
                  step.rank(j), z + p * step.max_rank);
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
  const int64_t max_rank = step.max_rank, pairs = step.pairs();
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
  const bool crossed = any_crossed(step);
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
        for (int64_t t = 0; t < n_tokens; ++t)
          gate_row(step.inner_of(step.token[p + t], item.slot), item.end - item.begin, out[t]);
      }
    }
    if (crossed) {
#pragma omp for schedule(static)
      for (int64_t s = 0; s < count; ++s) cross(step, z_all + s * pairs * max_rank);
    }
    std::vector<float> sums(tokens * kColumnTile);
    std::vector<uint8_t> touched(tokens);
#pragma omp for schedule(static) nowait
    for (size_t n = 0; n < expand.size(); ++n) {
      const Item item = expand[n];
      const int64_t columns = item.end - item.begin, stride = row_stride(b[item.slice]);
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

}  // namespace loralloy
