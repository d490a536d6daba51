// Many tokens (prefill) in bfloat16, on processors with bfloat16 matrix instructions: each thread
// takes tiles of tokens through everything (shrink, gates, expand, add) while they are in its
// cache, with weights that are kept packed (packed.h). The products are oneDNN's.

#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "layout.h"
#include "packed.h"
#include "step.h"
#include "threads.h"
#include "vectors.h"

namespace loralloy {

using at::Tensor;

constexpr int64_t kTile = 64;    // tokens that go through a module together
constexpr int64_t kGrain = 16;   // a tile is padded to a multiple of this many tokens
constexpr int64_t kSpan = 128;   // outputs that are added to y together: two panels
constexpr int64_t kAhead = 16;   // rows of y that are fetched ahead
constexpr int64_t kLine = 32;    // outputs in a line of the cache

// A slot's part in a tile.
struct Part {
  int32_t slot;
  int64_t columns;
  const float* z;  // of the first token and slice
  int64_t z_stride;
  BFloat16* h;     // of the first token
  int64_t h_stride;
};

// Takes one thread's tokens through a module, tile by tile.
class TileWalk {
 public:
  TileWalk(Tensor& y, const Tensor& x, const Layout& layout, at::IntArrayRef slices,
           const Step& step)
      : x_(x.const_data_ptr<BFloat16>()),
        y_(y.mutable_data_ptr<BFloat16>()),
        x_stride_(x.stride(0)),
        y_stride_(y.stride(0)),
        in_(x.size(1)),
        count_(static_cast<int64_t>(slices.size())),
        layout_(layout),
        slices_(slices),
        step_(step),
        sums_(kTile * kSpan),
        touched_(kTile) {
    int64_t widest = 0;
    start_.push_back(0);
    for (int64_t g = 0; g < layout.groups(); ++g) {
      const int64_t width = layout.in_use(g) ? layout.group(g).width : 0;
      start_.push_back(start_.back() + width);
      widest = std::max(widest, width);
    }
    z_ = Lines<float>(kTile * start_.back() * count_);
    h_ = Lines<BFloat16>(kTile * start_.back());
    std::memset(h_.data(), 0, kTile * start_.back() * sizeof(BFloat16));
    cross_.resize(widest);
  }

  // The matrix registers are one thread's; whoever computes next on it must find them free.
  ~TileWalk() { at::native::cpublas::brgemm_release(); }
  TileWalk(const TileWalk&) = delete;
  TileWalk& operator=(const TileWalk&) = delete;

  // The tile that begins at token `begin`; `end` is behind the last token of the step.
  void walk(int64_t begin, int64_t end) {
    begin_ = begin;
    tokens_ = std::min(kTile, end - begin);
    height_ = (tokens_ + kGrain - 1) / kGrain * kGrain;
    layout_.runs(begin_, begin_ + tokens_, runs_);
    if (runs_.empty()) return;  // base-model tokens only
    list_parts();
    shrink();
    int64_t offset = 0;
    for (int64_t s = 0; s < count_; offset += slices_[s], ++s) {
      apply_gates(s);
      expand(s, offset);
    }
  }

 private:
  // The step's slots that have columns in this tile's products, in the step's order; and which
  // tokens take part at all.
  void list_parts() {
    parts_.clear();
    for (int64_t j = 0; j < step_.slots; ++j) {
      const Column& column = layout_.column(j);
      for (const Run& run : runs_)
        if (run.group == column.group && run.begin <= column.begin && column.end <= run.end)
          parts_.push_back(part_of(j, column));
    }
    crossed_ = false;
    for (int64_t t = 0; t < tokens_; ++t) {
      touched_[t] = 0;
      for (const Part& part : parts_) touched_[t] |= gate_of(step_.inner, t, part) != 0.f;
      crossed_ |= step_.crossed[begin_ + t] != 0;
    }
  }

  Part part_of(int64_t j, const Column& column) {
    const int64_t width = layout_.group(column.group).width, before = kTile * start_[column.group];
    return {step_.id(j), column.end - column.begin,
            z_.data() + (before + column.begin) * count_, width * count_,
            h_.data() + before + column.begin, width};
  }

  float gate_of(const float* gates, int64_t t, const Part& part) const {
    return gates[(begin_ + t) * step_.width + part.slot];
  }

  // z, group by group [kTile, slices·width] = x Aᵀ
  void shrink() {
    const BFloat16* rows = x_ + begin_ * x_stride_;
    int64_t stride = x_stride_;
    if (height_ != tokens_) {  // rows beyond the last are not ours to read
      padded_.assign(height_ * in_, BFloat16(0.f));
      for (int64_t t = 0; t < tokens_; ++t)
        std::memcpy(padded_.data() + t * in_, rows + t * stride, in_ * sizeof(BFloat16));
      rows = padded_.data();
      stride = in_;
    }
    for (const Run& run : runs_) {
      const Group& group = layout_.group(run.group);
      const int64_t all = group.width * count_, last = run.end * count_;
      float* z = z_.data() + kTile * count_ * start_[run.group];
      for (int64_t c = run.begin * count_; c < last; c += kPanel)
        at::native::cpublas::brgemm(height_, std::min(kPanel, last - c), in_, stride, all, all,
                                    false, rows, group.a.data() + 2 * c, z + c);
    }
  }

  // h, group by group [kTile, width], of one slice. A gate of 0 is no part at all, whatever the
  // product: another request's may overflow.
  void apply_gates(int64_t slice) {
    for (const Part& part : parts_) {
      const float* z = part.z + slice * part.columns;
      BFloat16* h = part.h;
      for (int64_t t = 0; t < tokens_; ++t, z += part.z_stride, h += part.h_stride)
        put(gate_of(step_.inner, t, part), z, part.columns, h);
    }
    for (int64_t t = 0; crossed_ && t < tokens_; ++t)
      if (step_.crossed[begin_ + t]) cross(t, slice);
  }

  // The rows of a crossed token, over those of a plain one.
  void cross(int64_t t, int64_t slice) {
    std::fill(cross_.begin(), cross_.end(), 0.f);
    for (const Part& part : parts_) {
      const float gate = gate_of(step_.inner, t, part);
      const float* z = part.z + t * part.z_stride + slice * part.columns;
      for (int64_t r = 0; gate != 0.f && r < part.columns; ++r) cross_[r] += gate * z[r];
    }
    for (const Part& part : parts_)
      put(gate_of(step_.outer, t, part), cross_.data(), part.columns, part.h + t * part.h_stride);
  }

  static void put(float gate, const float* from, int64_t n, BFloat16* to) {
    if (gate == 0.f)
      std::fill(to, to + n, BFloat16(0.f));
    else
      scale_row(gate, from, n, to);
  }

  // y += h Bᵀ, some panels of outputs at a time.
  void expand(int64_t slice, int64_t offset) {
    for (int64_t c = 0; c < slices_[slice]; c += kSpan) {
      const int64_t span = std::min(kSpan, slices_[slice] - c);
      for (int64_t p = 0; p < span; p += kPanel)
        multiply(offset + c + p, std::min(kPanel, span - p), sums_.data() + p);
      add(y_ + begin_ * y_stride_ + offset + c, span);
    }
  }

  // sums [kTile, kSpan]: those of one panel, which begins at output `begin`.
  void multiply(int64_t begin, int64_t panel, float* sums) {
    for (size_t n = 0; n < runs_.size(); ++n) {
      const Run& run = runs_[n];
      const Group& group = layout_.group(run.group);
      const BFloat16* h = h_.data() + kTile * start_[run.group] + run.begin;
      const BFloat16* weights = group.b.data() + begin * group.width + run.begin * panel;
      at::native::cpublas::brgemm(height_, panel, run.end - run.begin, group.width, panel, kSpan,
                                  n > 0, h, weights, sums);
    }
  }

  void add(BFloat16* row, int64_t span) {
    const float* sum = sums_.data();
    for (int64_t t = 0; t < tokens_; ++t, row += y_stride_, sum += kSpan) {
      // Rows of y are far apart, which no hardware prefetcher foresees.
      for (int64_t o = 0; o < span; o += kLine)
        __builtin_prefetch(row + kAhead * y_stride_ + o, 1);
      if (!touched_[t]) continue;
      int64_t o = 0;
      for (; o + kColumnTile <= span; o += kColumnTile) add_row<BFloat16>(row + o, sum + o);
      for (; o < span; ++o) row[o] = BFloat16(float(row[o]) + sum[o]);
    }
  }

  const BFloat16* x_;
  BFloat16* y_;
  int64_t x_stride_, y_stride_, in_, count_;
  const Layout& layout_;
  at::IntArrayRef slices_;
  const Step& step_;
  std::vector<int64_t> start_;  // [groups + 1]: columns of the groups in use before
  Lines<float> z_, sums_;
  Lines<BFloat16> h_;
  std::vector<float> cross_;
  std::vector<BFloat16> padded_;
  std::vector<uint8_t> touched_;
  int64_t begin_ = 0, tokens_ = 0, height_ = 0;  // of the tile at hand
  std::vector<Run> runs_;
  std::vector<Part> parts_;
  bool crossed_ = false;
};

// Whether this machine and these layers can use it.
inline bool tiles_apply(const Tensor& x) {
  static const bool supported = at::native::cpublas::could_pack(at::kBFloat16);
  return supported && x.scalar_type() == at::kBFloat16 && x.size(1) % 2 == 0 && x.stride(1) == 1;
}

inline void many_tokens_tiled(Tensor& y, const Tensor& x, PackedBank& bank, at::TensorList a,
                              at::TensorList b, at::IntArrayRef slices, const Step& step) {
  const std::vector<Place> places = bank.take(a, b, slices, step);
  const Layout layout(bank, places, step);
  const int64_t tokens = x.size(0);
  hand_out((tokens + kTile - 1) / kTile, [&] {
    return [&, walk = TileWalk(y, x, layout, slices, step)](int64_t i) mutable {
      walk.walk(i * kTile, tokens);
    };
  });
}

}  // namespace loralloy
