// Many tokens (prefill) in bfloat16, on processors with bfloat16 matrix instructions: the weights
// of the slots in use are packed once a call, then each thread takes tiles of tokens through
// everything (shrink, gates, expand, add) while they are in its cache. The products are oneDNN's.
//
// Columns of the packed bank are slot-major, so that the slots which a tile uses are few runs of
// neighbours, and one run is one product. A slot's rank is rounded up to even with zeros: the
// packed form interleaves pairs of rows.

#pragma once

#if defined(__AVX512F__)  // which of ATen's vector classes to use
#define CPU_CAPABILITY AVX512
#define CPU_CAPABILITY_AVX512
#endif

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "step.h"
#include "vectors.h"

namespace loralloy {

using at::Tensor;

constexpr int64_t kTile = 64;            // tokens that go through a module together
constexpr int64_t kGrain = 16;           // a tile is padded to a multiple of this many tokens
constexpr int64_t kPanel = 64;           // outputs of one product
constexpr int64_t kAhead = 8;            // rows of y that are fetched ahead

// The weights of the slots in use, as the products take them.
struct Packed {
  int64_t count;                 // slices
  std::vector<int64_t> start;    // [slots + 1]: a slot's first column, of one slice
  std::vector<BFloat16> a;       // [in/2, slices·width, 2]
  std::vector<BFloat16> b;       // per slice, per panel of outputs: [width/2, panel, 2]
  std::vector<int64_t> b_begin;  // [slices + 1]
  int64_t width() const { return start.back(); }
};

struct Run {  // neighbouring slots that a tile uses
  int64_t begin;
  int64_t end;
};

// to[2i] = even[i], to[2i + 1] = odd[i].
inline void interleave(const uint16_t* __restrict even, const uint16_t* __restrict odd, int64_t n,
                       uint16_t* __restrict to) {
  for (int64_t i = 0; i < n; ++i) {
    to[2 * i] = even[i];
    to[2 * i + 1] = odd[i];
  }
}

// One slot of one slice of A.
inline void pack_a(Packed& packed, const Tensor& a, const Step& step, int64_t j, int64_t s) {
  const int64_t pairs = a.size(3) / 2, rank = step.rank(j), columns = packed.width() * packed.count;
  const int64_t each = packed.start[j + 1] - packed.start[j];
  // Pairs of inputs move together, as if they were one fp32.
  const auto* from =
      reinterpret_cast<const float*>(a.const_data_ptr<BFloat16>() + step.id(j) * a.stride(0));
  auto* to = reinterpret_cast<float*>(packed.a.data()) + packed.start[j] * packed.count + s * each;
  at::vec::transpose_mxn<float>(from, pairs, to, columns, rank, pairs);
  for (int64_t i = 0; each > rank && i < pairs; ++i) to[i * columns + rank] = 0.f;
}

// One slot of one slice of B.
inline void pack_b(Packed& packed, const Tensor& b, const Step& step, int64_t j, int64_t s) {
  static const std::vector<uint16_t> zeros(kPanel, 0);
  const int64_t width = packed.width(), size = b.size(2), stride = b.stride(3);
  const auto* from =
      reinterpret_cast<const uint16_t*>(b.const_data_ptr<BFloat16>() + step.id(j) * b.stride(0));
  auto* to = reinterpret_cast<uint16_t*>(packed.b.data()) + packed.b_begin[s];
  for (int64_t c = 0; c < size; c += kPanel) {
    const int64_t panel = std::min(kPanel, size - c);
    uint16_t* rows = to + c * width + packed.start[j] * panel;
    for (int64_t r = 0; r < step.rank(j); r += 2, rows += 2 * panel)
      interleave(from + r * stride + c,
                 r + 1 < step.rank(j) ? from + (r + 1) * stride + c : zeros.data(), panel, rows);
  }
}

// Sizes `packed` for the slots in use; the weights are packed after it.
inline void lay_out(Packed& packed, int64_t in, at::IntArrayRef slices, const Step& step) {
  packed.count = static_cast<int64_t>(slices.size());
  packed.start.assign(1, 0);
  for (int64_t j = 0; j < step.slots; ++j)
    packed.start.push_back(packed.start.back() + (step.rank(j) + 1) / 2 * 2);
  packed.a.resize(in * packed.width() * packed.count);
  packed.b_begin.assign(1, 0);
  for (const int64_t size : slices)
    packed.b_begin.push_back(packed.b_begin.back() + packed.width() * size);
  packed.b.resize(packed.b_begin.back());
}

// The slots that the tokens from `begin` to `end` use.
inline std::vector<Run> runs_of(const Step& step, int64_t begin, int64_t end) {
  std::vector<Run> runs;
  for (int64_t j = 0; j < step.slots; ++j) {
    const int32_t* first = step.token + step.first(j);
    const int32_t* last = step.token + step.first(j + 1);
    const int32_t* hit = std::lower_bound(first, last, static_cast<int32_t>(begin));
    if (hit == last || *hit >= end) continue;
    if (!runs.empty() && runs.back().end == j)
      runs.back().end = j + 1;
    else
      runs.push_back({j, j + 1});
  }
  return runs;
}

// Takes one thread's tokens through a module, tile by tile.
class TileWalk {
 public:
  TileWalk(Tensor& y, const Tensor& x, const Packed& packed, at::IntArrayRef slices,
           const Step& step)
      : x_(x.const_data_ptr<BFloat16>()),
        y_(y.mutable_data_ptr<BFloat16>()),
        x_stride_(x.stride(0)),
        y_stride_(y.stride(0)),
        in_(x.size(1)),
        count_(static_cast<int64_t>(slices.size())),
        width_(packed.width()),
        packed_(packed),
        slices_(slices),
        step_(step),
        z_(kTile * width_ * count_),
        sums_(kTile * kPanel),
        cross_(width_),
        h_(kTile * width_, BFloat16(0.f)),
        touched_(kTile) {}

  // The matrix registers are one thread's; whoever computes next on it must find them free.
  ~TileWalk() { at::native::cpublas::brgemm_release(); }
  TileWalk(const TileWalk&) = delete;
  TileWalk& operator=(const TileWalk&) = delete;

  // The tile that begins at token `begin`; `end` is behind the last token of the step.
  void walk(int64_t begin, int64_t end) {
    begin_ = begin;
    tokens_ = std::min(kTile, end - begin);
    height_ = (tokens_ + kGrain - 1) / kGrain * kGrain;
    runs_ = runs_of(step_, begin_, begin_ + tokens_);
    if (runs_.empty()) return;  // base-model tokens only
    shrink();
    int64_t offset = 0;
    for (int64_t s = 0; s < count_; offset += slices_[s], ++s) {
      apply_gates(s);
      expand(s, offset);
    }
  }

 private:
  int64_t columns(int64_t j) const { return packed_.start[j + 1] - packed_.start[j]; }

  // z [kTile, slices·width] = x Aᵀ
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
    const int64_t all = width_ * count_;
    for (const Run run : runs_) {
      const int64_t last = packed_.start[run.end] * count_;
      for (int64_t c = packed_.start[run.begin] * count_; c < last; c += kPanel)
        at::native::cpublas::brgemm(height_, std::min(kPanel, last - c), in_, stride, all, all,
                                    false, rows, packed_.a.data() + 2 * c, z_.data() + c);
    }
  }

  // h [kTile, width] of one slice. A gate of 0 is no part at all, whatever the product: another
  // request's may overflow.
  void apply_gates(int64_t slice) {
    for (int64_t t = 0; t < tokens_; ++t) {
      const int64_t token = begin_ + t;
      const bool crossed = step_.crossed[token];
      touched_[t] = 0;
      if (crossed) std::fill(cross_.begin(), cross_.end(), 0.f);
      for (const Run run : runs_)
        for (int64_t j = run.begin; j < run.end; ++j) {
          const float gate = step_.inner[token * step_.width + step_.id(j)];
          const int64_t n = columns(j);
          const float* from =
              z_.data() + t * width_ * count_ + packed_.start[j] * count_ + slice * n;
          if (gate != 0.f) touched_[t] = 1;
          if (!crossed)
            put(gate, from, n, h_.data() + t * width_ + packed_.start[j]);
          else if (gate != 0.f)
            for (int64_t r = 0; r < n; ++r) cross_[r] += gate * from[r];
        }
      if (!crossed) continue;
      for (const Run run : runs_)
        for (int64_t j = run.begin; j < run.end; ++j)
          put(step_.outer[token * step_.width + step_.id(j)], cross_.data(), columns(j),
              h_.data() + t * width_ + packed_.start[j]);
    }
  }

  static void put(float gate, const float* from, int64_t n, BFloat16* to) {
    if (gate == 0.f)
      std::fill(to, to + n, BFloat16(0.f));
    else
      scale_row(gate, from, n, to);
  }

  // y += h Bᵀ, a panel of outputs at a time.
  void expand(int64_t slice, int64_t offset) {
    for (int64_t c = 0; c < slices_[slice]; c += kPanel) {
      const int64_t panel = std::min(kPanel, slices_[slice] - c);
      const BFloat16* weights = packed_.b.data() + packed_.b_begin[slice] + c * width_;
      for (size_t n = 0; n < runs_.size(); ++n) {
        const int64_t first = packed_.start[runs_[n].begin];
        const int64_t depth = packed_.start[runs_[n].end] - first;
        at::native::cpublas::brgemm(height_, panel, depth, width_, panel, kPanel, n > 0,
                                    h_.data() + first, weights + first * panel, sums_.data());
      }
      BFloat16* row = y_ + begin_ * y_stride_ + offset + c;
      for (int64_t t = 0; t < tokens_; ++t, row += y_stride_) {
        // Rows of y are far apart, which no hardware prefetcher foresees.
        __builtin_prefetch(row + kAhead * y_stride_, 1);
        __builtin_prefetch(row + kAhead * y_stride_ + kPanel / 2, 1);
        if (!touched_[t]) continue;
        const float* sum = sums_.data() + t * kPanel;
        if (panel == kColumnTile)
          add_row<BFloat16>(row, sum);
        else
          for (int64_t o = 0; o < panel; ++o) row[o] = BFloat16(float(row[o]) + sum[o]);
      }
    }
  }

  const BFloat16* x_;
  BFloat16* y_;
  int64_t x_stride_, y_stride_, in_, count_, width_;
  const Packed& packed_;
  at::IntArrayRef slices_;
  const Step& step_;
  std::vector<float> z_, sums_, cross_;
  std::vector<BFloat16> h_, padded_;
  std::vector<uint8_t> touched_;
  int64_t begin_ = 0, tokens_ = 0, height_ = 0;  // of the tile at hand
  std::vector<Run> runs_;
};

// Whether this machine and these layers can use it.
inline bool tiles_apply(const Tensor& x) {
  static const bool supported = at::native::cpublas::could_pack(at::kBFloat16);
  return supported && x.scalar_type() == at::kBFloat16 && x.size(1) % 2 == 0 && x.stride(1) == 1;
}

// Hands out the items 0 … `count` − 1 to threads, one by one: cores that others use as well are
// not equally fast. `begin()` gives each thread its worker.
template <typename Begin>
void hand_out(int64_t count, Begin begin) {
  std::atomic<int64_t> next{0};
  const int64_t threads = std::min<int64_t>(count, at::get_num_threads());
  at::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    auto work = begin();
    for (int64_t i = next++; i < count; i = next++) work(i);
  });
}

inline void many_tokens_tiled(Tensor& y, const Tensor& x, at::TensorList a, at::TensorList b,
                              at::IntArrayRef slices, const Step& step) {
  static Packed packed;  // reused between calls; a worker runs one forward pass at a time
  lay_out(packed, x.size(1), slices, step);
  const int64_t count = packed.count, tokens = x.size(0);
  hand_out(step.slots * count, [&] {
    return [&](int64_t i) {
      const int64_t j = i / count, s = i % count;
      pack_a(packed, a[s], step, j, s);
      pack_b(packed, b[s], step, j, s);
    };
  });
  hand_out((tokens + kTile - 1) / kTile, [&] {
    return [&, walk = TileWalk(y, x, packed, slices, step)](int64_t i) mutable {
      walk.walk(i * kTile, tokens);
    };
  });
}

}  // namespace loralloy
