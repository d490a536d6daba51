// The gated bank on CPU: for each token t and each adapter slot k with a gate,
//
//     z_k = A_k x_t                                   shrink, accumulated in fp32
//     h_k = inner[t,k] z_k                            plain token    (combination "cat")
//     h_k = outer[t,k] Σ_i inner[t,i] z_i             crossed token  (the two "linear" rules)
//     y_t += Σ_k B_k h_k                              expand, accumulated in fp32, added once
//
// Three ways, by the number of tokens and the processor: few_tokens.h for decoding, tiles.h for
// prefill in bfloat16 with matrix instructions, many_tokens.h for prefill in any other case.
//
// Layouts: A is [slots, 1, max_rank, in]; B is [slots, 1, out, max_rank] to its readers, but stored
// with the outputs contiguous, so that the expand needs no horizontal sums.

#include <ATen/ATen.h>
#include <torch/library.h>

#include <cstdint>
#include <deque>
#include <vector>

#include "few_tokens.h"
#include "many_tokens.h"
#include "step.h"
#include "tiles.h"

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
  PackedBank packed;  // a and b again, as prefill takes them
};

std::deque<Module>& modules() {
  static std::deque<Module> table;
  return table;
}

int64_t bind_module(at::TensorList a, at::TensorList b, at::IntArrayRef slices,
                    at::TensorList step, int64_t few) {
  modules().push_back({a.vec(), b.vec(), slices.vec(), step.vec(), few, {}});
  return static_cast<int64_t>(modules().size()) - 1;
}

void gated_lora(Tensor y, const Tensor& x, int64_t index) {
  Module& module = modules().at(index);
  const Step step = read_step(module.step);
  if (step.slots == 0 || x.size(0) == 0) return;
  const bool typed = x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16;
  const bool many = !typed || step.pairs() > module.few * step.slots;
  if (many && tiles_apply(x))
    return many_tokens_tiled(y, x, module.packed, module.a, module.b, module.slices, step);
  if (many)
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
