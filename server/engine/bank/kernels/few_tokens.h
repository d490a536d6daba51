// Few tokens (decoding): only (slot, token) pairs with a gate are computed, in rows of the slot's
// true rank; a token without gates is never read or written.

#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "step.h"
#include "vectors.h"

namespace loralloy {

using at::Tensor;

constexpr int64_t kTokenTile = 4;           // tokens that share one pass over a weight
constexpr int64_t kRowTile = 4;             // rows of A in flight
constexpr int64_t kParallelWork = 1 << 17;  // multiply-adds below which one thread is faster

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

}  // namespace loralloy
