// Many tokens (prefill) in any type and on any processor: the slots in use are gathered and two
// matrix products per module do the work.

#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "step.h"

namespace loralloy {

using at::Tensor;

constexpr int64_t kTokensPerThread = 64;  // fewest tokens that a thread is woken for

// Rows of the slots in use, cut to their ranks and stacked: [Σ rank, size]. Weights of [slots, 1,
// max_rank, size], each slot contiguous. Copied by hand: at::cat would wake all threads for it.
inline Tensor gather(const std::vector<Tensor>& weights, const Step& step) {
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
inline Tensor spread(const Tensor& gates, const Step& step, int64_t tokens) {
  std::vector<Tensor> columns;
  for (int64_t j = 0; j < step.slots; ++j)
    columns.push_back(gates.narrow(0, 0, tokens).narrow(1, step.id(j), 1).expand(
        {tokens, step.rank(j)}));
  return at::cat(columns, 1);
}

// Replaces the rows of crossed tokens: every slot gets outer · the sum over the slots.
inline Tensor cross_terms(const Tensor& h, const Tensor& outer, const Tensor& crossed, const Step& step) {
  int64_t widest = 0;
  for (int64_t j = 0; j < step.slots; ++j) widest = std::max<int64_t>(widest, step.rank(j));
  Tensor total = at::zeros({h.size(0), widest}, h.options());
  int64_t begin = 0;
  for (int64_t j = 0; j < step.slots; begin += step.rank(j), ++j)
    total.narrow(1, 0, step.rank(j)).add_(h.narrow(1, begin, step.rank(j)));
  std::vector<Tensor> copies;
  for (int64_t j = 0; j < step.slots; ++j) copies.push_back(total.narrow(1, 0, step.rank(j)));
  return at::where(crossed.unsqueeze(1), at::cat(copies, 1).mul(outer), h);
}

template <typename Bits>
bool no_exponent_full(const void* data, int64_t count, Bits exponent) {
  const char* bytes = static_cast<const char*>(data);
  bool full = false;
  for (int64_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, bytes + i * sizeof(Bits), sizeof(Bits));
    full |= (bits & exponent) == exponent;
  }
  return !full;
}

// Whether no entry is infinite or NaN, which a gate of 0 would not silence in a product.
inline bool all_finite(const Tensor& weights) {
  const void* data = weights.const_data_ptr();
  const int64_t count = weights.numel();
  switch (weights.scalar_type()) {
    case at::kBFloat16: return no_exponent_full<uint16_t>(data, count, 0x7F80);
    case at::kHalf: return no_exponent_full<uint16_t>(data, count, 0x7C00);
    case at::kFloat: return no_exponent_full<uint32_t>(data, count, 0x7F800000);
    default: return false;
  }
}

// Adds h · expand slot by slot, each to the tokens alone that have a part in it.
inline void add_by_slot(Tensor y, const Tensor& h, const Tensor& expand, const Step& step) {
  int64_t begin = 0;
  for (int64_t j = 0; j < step.slots; begin += step.rank(j), ++j) {
    const Tensor part = h.narrow(1, begin, step.rank(j));
    const Tensor rows = at::nonzero(part.ne(0).any(1)).squeeze(1);
    if (rows.size(0) == 0) continue;
    y.index_add_(0, rows, at::mm(part.index_select(0, rows),
                                 expand.narrow(0, begin, step.rank(j))));
  }
}

inline void many_tokens(Tensor& y, const Tensor& x, at::TensorList a, at::TensorList b,
                 at::IntArrayRef slices, at::TensorList parts, const Step& step) {
  const int64_t tokens = x.size(0), count = static_cast<int64_t>(a.size());
  const Tensor inner = spread(parts[3], step, tokens);
  bool any_crossed = false;
  for (int64_t t = 0; t < tokens; ++t) any_crossed |= step.crossed[t] != 0;
  const Tensor crossed = any_crossed ? parts[5].narrow(0, 0, tokens).to(at::kBool) : Tensor();
  const Tensor outer = any_crossed ? spread(parts[4], step, tokens) : Tensor();
  const Tensor shrink = gather(a.vec(), step).t();
  std::vector<Tensor> expand;
  bool sound = true;
  for (int64_t s = 0; s < count; ++s) {
    expand.push_back(gather({b[s].transpose(2, 3)}, step));
    sound = sound && all_finite(expand.back());
  }
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
      // In fp32, as the gates are. A gate of 0 is no part at all, whatever the product.
      Tensor h = at::where(gates.eq(0), 0.f, z.narrow(1, s * width, width).mul(gates));
      if (any_crossed)
        h = cross_terms(h, outer.narrow(0, begin, n), crossed.narrow(0, begin, n), step);
      Tensor part = y.narrow(0, begin, n).narrow(1, offset, slices[s]);
      if (sound)
        part.addmm_(h.to(y.scalar_type()), expand[s]);
      else
        add_by_slot(part, h.to(y.scalar_type()), expand[s], step);
      offset += slices[s];
    }
  });
}

}  // namespace loralloy
