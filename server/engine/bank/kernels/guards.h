// Refuses a bad call before any memory is touched, as a ValueError that says what is wrong. The form
// in plain torch refuses the same (server/engine/bank/kernels/guards.py).

#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "step.h"

namespace loralloy {

using at::Tensor;

constexpr int64_t kStepParts = 6;

inline void check_plain(const Tensor& tensor, const char* name) {
  TORCH_CHECK_VALUE(tensor.layout() == at::kStrided, name, " is not a plain (strided) tensor");
  TORCH_CHECK_VALUE(tensor.device().is_cpu(), name, " is on ", tensor.device(), ", not on the CPU");
}

inline void check_slots(const Tensor& tensor, at::IntArrayRef sizes, const Tensor& like,
                        const char* name) {
  check_plain(tensor, name);
  TORCH_CHECK_VALUE(tensor.scalar_type() == like.scalar_type(), name, " holds ",
                    tensor.scalar_type(), ", the first weights ", like.scalar_type());
  TORCH_CHECK_VALUE(tensor.sizes() == sizes, name, " has the shape ", tensor.sizes(), ", not ",
                    sizes);
}

// Slots of [rows, row], each row contiguous and the rows of a slot side by side.
inline void check_rows(const Tensor& tensor, int64_t rows, int64_t row, int64_t of_row,
                       int64_t of_element, const char* name) {
  TORCH_CHECK_VALUE(row == 1 || tensor.stride(of_element) == 1, name,
                    " does not have its rows contiguous");
  TORCH_CHECK_VALUE(rows == 1 || tensor.stride(of_row) == row, name,
                    " does not have the rows of a slot side by side");
  TORCH_CHECK_VALUE(tensor.size(0) == 1 || tensor.stride(0) >= rows * row, name,
                    " has slots that overlap");
}

inline void check_part(const Tensor& part, at::ScalarType type, at::IntArrayRef sizes,
                       const char* name) {
  check_plain(part, name);
  TORCH_CHECK_VALUE(part.scalar_type() == type, "the step's ", name, " hold ", part.scalar_type(),
                    ", not ", type);
  TORCH_CHECK_VALUE(part.sizes() == sizes && part.is_contiguous(), "the step's ", name,
                    " have the shape ", part.sizes(), ", not ", sizes, ", or are not contiguous");
}

inline void check_buffers(at::TensorList step, int64_t slots) {
  TORCH_CHECK_VALUE(step.size() == kStepParts, "a step has ", kStepParts, " buffers, not ",
                    step.size());
  TORCH_CHECK_VALUE(step[3].dim() == 2, "the step's inner gates are no matrix");
  const int64_t tokens = step[3].size(0);
  check_part(step[0], at::kInt, {2}, "header");
  check_part(step[1], at::kInt, {slots + 1, 3}, "slots");
  check_part(step[2], at::kInt, {slots * tokens}, "tokens");
  check_part(step[3], at::kFloat, {tokens, slots}, "inner gates");
  check_part(step[4], at::kFloat, {tokens, slots}, "outer gates");
  check_part(step[5], at::kByte, {tokens}, "crossed flags");
}

// What a module is bound with; asked at every call too, since a tensor can be given other storage.
inline void check_bank(at::TensorList a, at::TensorList b, at::IntArrayRef slices,
                       at::TensorList step) {
  TORCH_CHECK_VALUE(!a.empty() && a.size() == b.size() && a.size() == slices.size(),
                    "a module has as many A as B and slices, and at least one: not ", a.size(),
                    ", ", b.size(), " and ", slices.size());
  const at::ScalarType type = a[0].scalar_type();
  TORCH_CHECK_VALUE(type == at::kFloat || type == at::kBFloat16 || type == at::kHalf,
                    "weights are float32, bfloat16 or float16, not ", type);
  TORCH_CHECK_VALUE(a[0].dim() == 4 && a[0].size(1) == 1 && a[0].numel() > 0,
                    "A is [slots, 1, rank, in], not ", a[0].sizes());
  const int64_t slots = a[0].size(0), rank = a[0].size(2), in = a[0].size(3);
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  for (size_t s = 0; s < a.size(); ++s) {
    TORCH_CHECK_VALUE(slices[s] > 0 && slices[s] < most, "a slice has ", slices[s], " outputs");
    check_slots(a[s], {slots, 1, rank, in}, a[0], "A");
    check_slots(b[s], {slots, 1, slices[s], rank}, a[0], "B");
    check_rows(a[s], rank, in, 2, 3, "A");
    check_rows(b[s], rank, slices[s], 3, 2, "B");
  }
  check_buffers(step, slots);
}

// The step's own numbers: whatever they say is followed without another look.
inline void check_step(const Step& step, int64_t max_tokens) {
  TORCH_CHECK_VALUE(step.tokens >= 0 && step.tokens <= max_tokens, "the step has ", step.tokens,
                    " tokens; its buffers hold ", max_tokens);
  TORCH_CHECK_VALUE(step.slots >= 0 && step.slots <= step.width, "the step uses ", step.slots,
                    " slots of ", step.width);
  int32_t before = -1;
  for (int64_t j = 0; j < step.slots; ++j) {
    const int32_t id = step.id(j), first = step.first(j), last = step.first(j + 1);
    TORCH_CHECK_VALUE(id > before && id < step.width, "the step uses slot ", id, " after ", before,
                      ", of ", step.width);
    TORCH_CHECK_VALUE(step.rank(j) > 0 && step.rank(j) <= step.max_rank, "slot ", id,
                      " has the rank ", step.rank(j), "; the bank's is ", step.max_rank);
    TORCH_CHECK_VALUE((j > 0 || first == 0) && first <= last &&
                          last - first <= step.tokens,
                      "slot ", id, " has the pairs from ", first, " to ", last, " of ",
                      step.tokens, " tokens");
    before = id;
  }
  for (int64_t j = 0; j < step.slots; ++j) {
    int32_t last = -1;
    bool ascends = true;
    for (int64_t p = step.first(j); p < step.first(j + 1); ++p) {
      ascends &= step.token[p] > last;
      last = step.token[p];
    }
    TORCH_CHECK_VALUE(ascends && last < step.tokens, "the tokens of slot ", step.id(j),
                      " do not ascend below ", step.tokens);
  }
}

struct Extent {  // the bytes from a tensor's first element to behind its last
  const char* begin;
  const char* end;
  bool meets(const Extent& other) const { return begin < other.end && other.begin < end; }
};

inline Extent extent(const Tensor& tensor) {
  const auto* begin = static_cast<const char*>(tensor.const_data_ptr());
  if (tensor.numel() == 0) return {begin, begin};
  int64_t last = 0;
  for (int64_t d = 0; d < tensor.dim(); ++d) last += (tensor.size(d) - 1) * tensor.stride(d);
  return {begin, begin + (last + 1) * tensor.element_size()};
}

// Whether two matrices are column ranges of one, which share no element although they interleave.
inline bool side_by_side(const Tensor& y, const Tensor& x) {
  if (y.stride(0) != x.stride(0) || y.stride(1) != 1 || x.stride(1) != 1 || y.stride(0) <= 0)
    return false;
  const int64_t row = y.stride(0) * y.element_size();
  const auto apart = static_cast<const char*>(x.const_data_ptr()) -
                     static_cast<const char*>(y.const_data_ptr());
  const int64_t shift = ((apart % row) + row) % row;  // of x behind y, within a row
  return shift >= y.size(1) * y.element_size() &&
         shift + x.size(1) * x.element_size() <= row;
}

inline void check_apart(const Tensor& y, const Tensor& x, at::TensorList a, at::TensorList b,
                        at::TensorList step) {
  const Extent whole = extent(y);
  TORCH_CHECK_VALUE(!whole.meets(extent(x)) || side_by_side(y, x), "y and x share memory");
  for (const at::TensorList& tensors : {a, b, step})
    for (const Tensor& tensor : tensors)
      TORCH_CHECK_VALUE(!whole.meets(extent(tensor)), "y shares memory with the bank");
}

inline void check_rows_of(const Tensor& y, const Tensor& x, at::TensorList a,
                          at::IntArrayRef slices) {
  check_plain(y, "y");
  check_plain(x, "x");
  TORCH_CHECK_VALUE(y.dim() == 2 && x.dim() == 2, "y and x are matrices, not ", y.sizes(), " and ",
                    x.sizes());
  TORCH_CHECK_VALUE(x.scalar_type() == a[0].scalar_type() && y.scalar_type() == x.scalar_type(),
                    "y holds ", y.scalar_type(), " and x ", x.scalar_type(), "; the bank ",
                    a[0].scalar_type());
  int64_t outputs = 0;
  for (const int64_t size : slices) outputs += size;
  TORCH_CHECK_VALUE(x.size(1) == a[0].size(3), "x has ", x.size(1), " columns, the module ",
                    a[0].size(3), " inputs");
  TORCH_CHECK_VALUE(y.size(1) == outputs, "y has ", y.size(1), " columns, the module ", outputs,
                    " outputs");
  TORCH_CHECK_VALUE(y.size(0) == x.size(0), "y has ", y.size(0), " rows, x ", x.size(0));
  TORCH_CHECK_VALUE(outputs == 1 || y.stride(1) == 1, "y does not have its rows contiguous");
  TORCH_CHECK_VALUE(y.size(0) <= 1 || y.stride(0) >= outputs, "y has rows that overlap");
}

inline void check_tokens(const Tensor& x, const Step& step) {
  TORCH_CHECK_VALUE(step.tokens <= x.size(0), "the step has ", step.tokens, " tokens, x ",
                    x.size(0), " rows");
}

}  // namespace loralloy
