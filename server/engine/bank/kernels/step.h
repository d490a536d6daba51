// What one engine step applies, the same for every module; filled before the forward pass
// (server/engine/bank/step_gates.py, which gives the layout).

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace loralloy {

struct Step {
  int64_t slots;           // slots in use
  const int32_t* slot;     // [slots + 1, 3]: slot, rank, first pair (the last row closes the list)
  const int32_t* token;    // [pairs]: the pairs' tokens, slot by slot
  const float* inner;      // [max_tokens, max_slots]
  const float* outer;      // [max_tokens, max_slots]
  const uint8_t* crossed;  // [max_tokens]
  int64_t width;           // max_slots
  int64_t pairs() const { return slot[slots * 3 + 2]; }
  int32_t id(int64_t j) const { return slot[j * 3]; }
  int32_t rank(int64_t j) const { return slot[j * 3 + 1]; }
  int32_t first(int64_t j) const { return slot[j * 3 + 2]; }
};

inline Step read_step(at::TensorList parts) {
  return Step{parts[0].const_data_ptr<int32_t>()[1],
              parts[1].const_data_ptr<int32_t>(),
              parts[2].const_data_ptr<int32_t>(),
              parts[3].const_data_ptr<float>(),
              parts[4].const_data_ptr<float>(),
              parts[5].const_data_ptr<uint8_t>(),
              parts[3].size(1)};
}

}  // namespace loralloy
