// What one engine step applies, the same for every module; filled before the forward pass
// (server/engine/bank/step_gates.py, which gives the layout).

#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>

namespace loralloy {

struct Step {
  int64_t tokens;          // of the step; x may have more rows, which have no gates
  int64_t slots;           // slots in use
  const int32_t* slot;     // [slots + 1, 3]: slot, rank, first pair (the last row closes the list)
  const int32_t* token;    // [pairs]: the pairs' tokens, slot by slot
  const float* inner;      // [max_tokens, max_slots]
  const float* outer;      // [max_tokens, max_slots]
  const uint8_t* crossed;  // [max_tokens]
  int64_t width;           // max_slots
  int64_t max_rank;        // of the module's slots
  int64_t pairs() const { return slot[slots * 3 + 2]; }
  int32_t id(int64_t j) const { return slot[j * 3]; }
  int32_t rank(int64_t j) const { return slot[j * 3 + 1]; }
  int32_t first(int64_t j) const { return slot[j * 3 + 2]; }
  float inner_of(int64_t token, int64_t j) const { return inner[token * width + id(j)]; }
  float outer_of(int64_t token, int64_t j) const { return outer[token * width + id(j)]; }
};

inline Step read_step(at::TensorList parts, int64_t max_rank) {
  const int32_t* header = parts[0].const_data_ptr<int32_t>();
  return Step{header[0],
              header[1],
              parts[1].const_data_ptr<int32_t>(),
              parts[2].const_data_ptr<int32_t>(),
              parts[3].const_data_ptr<float>(),
              parts[4].const_data_ptr<float>(),
              parts[5].const_data_ptr<uint8_t>(),
              parts[3].size(1),
              max_rank};
}

// Elements from one row of B to the next: with a single row, torch may say anything.
inline int64_t row_stride(const at::Tensor& b) { return b.size(3) > 1 ? b.stride(3) : b.size(2); }

// One slot's z of a token, times its gate. A gate of 0 is no part at all, whatever z: it may have
// overflowed.
inline void gate_row(float gate, int64_t n, float* z) {
  for (int64_t r = 0; r < n; ++r) z[r] = gate == 0.f ? 0.f : gate * z[r];
}

// The same of a crossed token, whose slots all get the sum over its slots.
inline void cross_row(float gate, const float* sum, int64_t n, float* h) {
  for (int64_t r = 0; r < n; ++r) h[r] = gate == 0.f ? 0.f : gate * sum[r];
}

}  // namespace loralloy
