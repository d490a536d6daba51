// Many tokens (prefill) with AVX2, in fp32 and in bfloat16: tokens that use the same slots go block
// by block through shrink, gates, expand and the sum into y, while they are in one core's cache. No
// slot is multiplied that a token does not use, and no weight is copied for longer than a block.

#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <vector>

#include "few_tokens.h"
#include "step.h"
#include "threads.h"
#include "vectors.h"

#if defined(LORALLOY_USES_AVX2)

namespace loralloy {

using at::Tensor;

constexpr int64_t kBlock = 96;       // most tokens of a block
constexpr int64_t kBlockInputs = 1 << 16;  // most numbers of x in a block: they stay in one cache
constexpr int64_t kBlockSpan = 64;   // outputs whose rows of B are taken together
constexpr int64_t kBlockPanel = 16;  // outputs of one product

// Tokens that use the same slots.
struct Alike {
  std::vector<int32_t> slots;   // among the step's, ascending
  std::vector<int32_t> tokens;  // ascending
};

// The step's tokens by the slots that they use; those of the base model are in none.
inline std::vector<Alike> alike(const Step& step) {
  struct Set {
    int32_t parent;
    int32_t slot;
  };
  std::vector<Set> sets{{-1, -1}};                  // 0: no slots
  std::vector<int32_t> set_of(step.tokens, 0);      // by token
  for (int32_t j = 0; j < step.slots; ++j) {
    const auto begin = static_cast<int32_t>(sets.size());  // those that end in slot j
    int32_t from = -1, to = -1;                            // the last step taken
    for (int64_t p = step.first(j); p < step.first(j + 1); ++p) {
      int32_t& set = set_of[step.token[p]];
      if (set != from) {
        from = set;
        to = begin;
        while (to < int32_t(sets.size()) && sets[to].parent != from) ++to;
        if (to == int32_t(sets.size())) sets.push_back({from, j});
      }
      set = to;
    }
  }
  std::vector<Alike> found(sets.size());
  for (int64_t t = 0; t < step.tokens; ++t)
    if (set_of[t] > 0) found[set_of[t]].tokens.push_back(static_cast<int32_t>(t));
  for (size_t n = 1; n < sets.size(); ++n) {
    for (int32_t s = n; s > 0; s = sets[s].parent) found[n].slots.push_back(sets[s].slot);
    std::reverse(found[n].slots.begin(), found[n].slots.end());
  }
  std::erase_if(found, [](const Alike& group) { return group.tokens.empty(); });
  return found;
}

struct Block {
  const Alike* group;
  int64_t begin;  // among the group's tokens
  int64_t count;
};

// Every thread gets some, if there are tokens enough.
inline std::vector<Block> in_blocks(const std::vector<Alike>& groups, int64_t in,
                                    int64_t threads) {
  int64_t tokens = 0;
  for (const Alike& group : groups) tokens += group.tokens.size();
  const int64_t share = (tokens + threads - 1) / threads;
  const int64_t most = std::clamp(kBlockInputs / in / kBlockRows * kBlockRows, kBlockRows, kBlock);
  const int64_t size =
      std::clamp((share + kBlockRows - 1) / kBlockRows * kBlockRows, kBlockRows, most);
  std::vector<Block> blocks;
  for (const Alike& group : groups) {
    const auto all = static_cast<int64_t>(group.tokens.size());
    for (int64_t begin = 0; begin < all; begin += size)
      blocks.push_back({&group, begin, std::min(size, all - begin)});
  }
  return blocks;
}

// Takes one thread's blocks through a module.
template <typename T>
class BlockWalk {
 public:
  BlockWalk(Tensor& y, const Tensor& x, at::TensorList a, at::TensorList b,
            at::IntArrayRef slices, const Step& step)
      : x_(x.const_data_ptr<T>()),
        y_(y.mutable_data_ptr<T>()),
        x_stride_(x.stride(0)),
        y_stride_(y.stride(0)),
        in_(x.size(1)),
        a_(a),
        b_(b),
        slices_(slices),
        step_(step) {}

  void walk(const Block& block) {
    slots_ = &block.group->slots;
    tokens_ = block.group->tokens.data() + block.begin;
    count_ = block.count;
    width_ = 0;
    for (const int32_t j : *slots_) width_ += step_.rank(j);
    h_.resize(count_ * width_);
    int64_t offset = 0;
    for (size_t s = 0; s < slices_.size(); offset += slices_[s], ++s) {
      shrink(s);
      gate();
      expand(s, offset);
    }
  }

 private:
  // h [count, width] = z: x Aᵀ of the slots side by side
  void shrink(size_t slice) {
    const T* weights = a_[slice].const_data_ptr<T>();
    int64_t column = 0;
    for (const int32_t j : *slots_) {
      const T* slot = weights + step_.id(j) * a_[slice].stride(0);
      for (int64_t r = 0; r < step_.rank(j); r += kRowTile) {
        const int64_t rows = std::min<int64_t>(kRowTile, step_.rank(j) - r);
        for (int64_t t = 0; t < count_; t += kTokenTile) {
          const T* from[kTokenTile];
          float* to[kTokenTile];
          const int64_t n = std::min(kTokenTile, count_ - t);
          for (int64_t k = 0; k < n; ++k) {
            from[k] = x_ + tokens_[t + k] * x_stride_;
            to[k] = h_.data() + (t + k) * width_ + column + r;
          }
          shrink_rows<T>(from, n, slot + r * in_, rows, in_, to);
        }
      }
      column += step_.rank(j);
    }
  }

  // z becomes h in place.
  void gate() {
    for (int64_t t = 0; t < count_; ++t) {
      const int64_t token = tokens_[t];
      const bool crossed = step_.crossed[token] != 0;
      if (crossed) cross_.assign(step_.max_rank, 0.f);
      float* row = h_.data() + t * width_;
      for (const int32_t j : *slots_) {
        gate_row(step_.inner_of(token, j), step_.rank(j), row);
        for (int64_t r = 0; crossed && r < step_.rank(j); ++r) cross_[r] += row[r];
        row += step_.rank(j);
      }
      if (!crossed) continue;
      row = h_.data() + t * width_;
      for (const int32_t j : *slots_) {
        cross_row(step_.outer_of(token, j), cross_.data(), step_.rank(j), row);
        row += step_.rank(j);
      }
    }
  }

  // y += h Bᵀ
  void expand(size_t slice, int64_t offset) {
    const int64_t size = slices_[slice], stride = row_stride(b_[slice]);
    b_span_.resize(width_ * kBlockSpan);
    for (int64_t begin = 0; begin < size; begin += kBlockSpan) {
      const int64_t span = std::min(kBlockSpan, size - begin);
      float* to = b_span_.data();
      for (const int32_t j : *slots_) {
        const T* from = b_[slice].const_data_ptr<T>() + step_.id(j) * b_[slice].stride(0) + begin;
        for (int64_t r = 0; r < step_.rank(j); ++r, to += kBlockSpan)
          widen(from + r * stride, span, to);
      }
      for (int64_t t = 0; t < count_; t += kBlockRows)
        add_rows(t, std::min(kBlockRows, count_ - t), offset + begin, span);
    }
  }

  void add_rows(int64_t first, int64_t n, int64_t column, int64_t span) {
    T* rows[kBlockRows];
    for (int64_t c = 0; c < span; c += kBlockPanel) {
      for (int64_t k = 0; k < n; ++k) {
        rows[k] = y_ + tokens_[first + k] * y_stride_ + column + c;
        // Rows of y are far apart, which no hardware prefetcher foresees.
        if (const int64_t next = first + n + k; next < count_)
          __builtin_prefetch(y_ + tokens_[next] * y_stride_ + column + c, 1);
      }
      const float* h = h_.data() + first * width_;
      const float* b = b_span_.data() + c;
      with_count<kBlockRows>(n, [&]<int N>() {
        block_tile<T, N>(h, width_, b, kBlockSpan, width_, rows, span - c);
      });
    }
  }

  const T* x_;
  T* y_;
  int64_t x_stride_, y_stride_, in_;
  at::TensorList a_, b_;
  at::IntArrayRef slices_;
  const Step& step_;
  const std::vector<int32_t>* slots_ = nullptr;  // of the block at hand, as what follows
  const int32_t* tokens_ = nullptr;
  int64_t count_ = 0, width_ = 0;
  std::vector<float> h_, cross_, b_span_;
};

template <typename T>
void many_tokens_in_blocks(Tensor& y, const Tensor& x, at::TensorList a, at::TensorList b,
                           at::IntArrayRef slices, const Step& step) {
  const std::vector<Alike> groups = alike(step);
  const std::vector<Block> blocks = in_blocks(groups, x.size(1), at::get_num_threads());
  hand_out(blocks.size(), [&] {
    return [&, walk = BlockWalk<T>(y, x, a, b, slices, step)](int64_t i) mutable {
      walk.walk(blocks[i]);
    };
  });
}

}  // namespace loralloy

#endif
