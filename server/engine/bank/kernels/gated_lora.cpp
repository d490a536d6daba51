// The gated bank on CPU: for each token t and each adapter slot k with a gate,
//
//     z_k = A_k x_t                                   shrink, accumulated in fp32
//     h_k = inner[t,k] z_k                            plain token    (combination "cat")
//     h_k = outer[t,k] Σ_i inner[t,i] z_i             crossed token  (the two "linear" rules)
//     y_t += Σ_k B_k h_k                              expand, accumulated in fp32, added once
//
// Four ways, by the number of tokens and the processor: few_tokens.h for decoding; for prefill
// tiles.h in bfloat16 with matrix instructions, blocks.h with AVX2, and many_tokens.h in any other
// case. Every call passes guards.h first.
//
// Layouts: A is [slots, 1, max_rank, in]; B is [slots, 1, out, max_rank] to its readers, but stored
// with the outputs contiguous, so that the expand needs no horizontal sums.

#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <cstdint>
#include <deque>
#include <vector>

#include "blocks.h"
#include "branch.h"
#include "few_tokens.h"
#include "guards.h"
#include "many_tokens.h"
#include "step.h"
#if defined(LORALLOY_USES_AVX512)
#include "tiles.h"
#endif

namespace {

using at::BFloat16;
using at::Tensor;
using namespace loralloy;

// What one wrapped layer of the model owns; bound once, before the first forward pass.
struct Module {
  std::vector<Tensor> a;
  std::vector<Tensor> b;
  std::vector<int64_t> slices;
  std::vector<Tensor> step;
  int64_t few;
#if defined(LORALLOY_USES_AVX512)
  PackedBank packed;  // a and b again, as prefill takes them
#endif
};

std::deque<Module>& modules() {
  static std::deque<Module> table;
  return table;
}

int64_t bind_module(at::TensorList a, at::TensorList b, at::IntArrayRef slices,
                    at::TensorList step, int64_t few) {
  check_bank(a, b, slices, step);
  TORCH_CHECK_VALUE(few >= 0, "the kernel cannot take ", few, " tokens a slot");
  modules().push_back({a.vec(), b.vec(), slices.vec(), step.vec(), few});
  return static_cast<int64_t>(modules().size()) - 1;
}

template <typename T>
void apply(Tensor& y, const Tensor& x, Module& module, const Step& step) {
  if (step.pairs() <= module.few * step.slots)
    return few_tokens<T>(y, x, module.a, module.b, module.slices, step);
#if defined(LORALLOY_USES_AVX512)
  if (tiles_apply(x))
    return many_tokens_tiled(y, x, module.packed, module.a, module.b, module.slices, step);
#elif defined(LORALLOY_USES_AVX2)
  return many_tokens_in_blocks<T>(y, x, module.a, module.b, module.slices, step);
#endif
  many_tokens(y, x, module.a, module.b, module.slices, module.step, step);
}

void gated_lora(Tensor y, const Tensor& x, int64_t index) {
  TORCH_CHECK_VALUE(index >= 0 && index < static_cast<int64_t>(modules().size()),
                    "there is no module ", index);
  Module& module = modules()[index];
  check_bank(module.a, module.b, module.slices, module.step);
  check_rows_of(y, x, module.a, module.slices);
  const Step step = read_step(module.step, module.a[0].size(2));
  check_step(step, module.step[3].size(0));
  check_tokens(x, step);
  check_apart(y, x, module.a, module.b, module.step);
  if (step.slots == 0 || step.tokens == 0) return;
  // Rows beyond the step's tokens have no gates.
  const bool whole = step.tokens == x.size(0);
  Tensor rows = whole ? y : y.narrow(0, 0, step.tokens);
  Tensor from = whole ? x : x.narrow(0, 0, step.tokens);
  if (x.stride(1) != 1 || x.stride(0) < x.size(1)) from = from.contiguous();
  switch (x.scalar_type()) {
    case at::kFloat: return apply<float>(rows, from, module, step);
    case at::kBFloat16: return apply<BFloat16>(rows, from, module, step);
    default:
      many_tokens(rows, from, module.a, module.b, module.slices, module.step, step);
  }
}

}  // namespace

TORCH_LIBRARY_IMPL(LORALLOY_LIBRARY, CPU, m) {
  m.impl("gated_lora", TORCH_FN(gated_lora));
  m.impl("bind_module", TORCH_FN(bind_module));
}

// Which branch this is: avx512, avx2 or scalar.
extern "C" __attribute__((visibility("default"))) const char* loralloy_branch() {
  return LORALLOY_BRANCH;
}
