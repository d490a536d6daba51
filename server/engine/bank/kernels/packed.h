// The packed form of a module's slots, as the products of tiles.h take it. A slot is packed when a
// prefill first uses it, and stays so until anything is written to the module's weights.

#pragma once

// Which of ATen's vector classes to use.
#define CPU_CAPABILITY AVX512
#define CPU_CAPABILITY_AVX512

#include <ATen/core/Tensor.h>
#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <vector>

#include "step.h"
#include "threads.h"
#include "vectors.h"

namespace loralloy {

using at::Tensor;

constexpr int64_t kPanel = 64;    // outputs of one product
constexpr int64_t kColumns = 64;  // columns of a group: the depth of its expand

// Memory that begins with a cache line: a row of a matrix tile is one line, and never two.
template <typename T>
class Lines {
 public:
  Lines() = default;
  explicit Lines(int64_t size)
      : data_(static_cast<T*>(std::aligned_alloc(64, (size * sizeof(T) + 63) / 64 * 64))) {
    TORCH_CHECK_WITH(OutOfMemoryError, data_ != nullptr, "no memory for the bank");
  }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T[], Free> data_;
};

struct Member {  // a slot's columns in a group, of one slice
  int32_t slot;
  int32_t rank;
  int64_t begin;
  int64_t end;   // an odd rank is rounded up with zeros: the packed form interleaves pairs of rows
  bool finite;   // B holds no infinity and no NaN: a zero times it is a zero
};

// Slots side by side. Those next to each other go through one product.
struct Group {
  int64_t width = 0;            // columns of one slice that there is room for
  std::vector<Member> members;  // by columns
  Lines<BFloat16> a;            // [in/2, width·slices, 2]: member by member, slice by slice
  Lines<BFloat16> b;            // per slice, per panel of outputs: [width/2, panel, 2]
  int64_t used() const { return members.empty() ? 0 : members.back().end; }
};

struct Place {  // where a slot is packed
  int64_t group;
  int64_t member;
};

// to[2i] = even[i], to[2i + 1] = odd[i].
inline void interleave(const uint16_t* __restrict even, const uint16_t* __restrict odd, int64_t n,
                       uint16_t* __restrict to) {
  for (int64_t i = 0; i < n; ++i) {
    to[2 * i] = even[i];
    to[2 * i + 1] = odd[i];
  }
}

class PackedBank {
 public:
  const std::vector<Group>& groups() const { return groups_; }

  // Makes sure that the slots of the step are packed as they are now, and says where each is.
  std::vector<Place> take(at::TensorList a, at::TensorList b, at::IntArrayRef slices,
                          const Step& step) {
    if (!current(a, b)) {
      for (Group& group : groups_) group.members.clear();  // the memory stays
      versions_ = versions(a, b);
    }
    std::vector<Place> places, fresh;
    for (int64_t j = 0; j < step.slots; ++j) {
      places.push_back(find(step.id(j), step.rank(j)));
      if (places.back().group >= 0) continue;
      places.back() = add(step.id(j), step.rank(j), a[0].size(3), slices);
      fresh.push_back(places.back());
    }
    if (!fresh.empty())
      hand_out(fresh.size(), [&] { return [&](int64_t i) { pack(fresh[i], a, b); }; });
    return places;
  }

 private:
  // Torch counts every write to a tensor, by whomever and through whatever view, unless it was
  // made in inference mode: such a tensor is never taken to be unchanged.
  static std::vector<int64_t> versions(at::TensorList a, at::TensorList b) {
    std::vector<int64_t> found;
    for (const at::TensorList tensors : {a, b})
      for (const Tensor& tensor : tensors)
        found.push_back(tensor.is_inference() ? -1 : tensor._version());
    return found;
  }

  bool current(at::TensorList a, at::TensorList b) const {
    const std::vector<int64_t> now = versions(a, b);
    return now == versions_ && std::find(now.begin(), now.end(), -1) == now.end();
  }

  Place find(int32_t slot, int32_t rank) const {
    for (size_t g = 0; g < groups_.size(); ++g)
      for (size_t m = 0; m < groups_[g].members.size(); ++m)
        if (groups_[g].members[m].slot == slot && groups_[g].members[m].rank == rank)
          return {static_cast<int64_t>(g), static_cast<int64_t>(m)};
    return {-1, -1};
  }

  Place add(int32_t slot, int32_t rank, int64_t in, at::IntArrayRef slices) {
    const int64_t columns = (rank + 1) / 2 * 2;
    size_t g = 0;
    while (g < groups_.size() && groups_[g].width - groups_[g].used() < columns) ++g;
    if (g == groups_.size()) {
      int64_t outputs = 0;
      for (const int64_t size : slices) outputs += size;
      Group group;
      group.width = std::max(kColumns, columns);
      group.a = Lines<BFloat16>(in * group.width * slices.size());
      group.b = Lines<BFloat16>(outputs * group.width);
      groups_.push_back(std::move(group));
    }
    Group& group = groups_[g];
    group.members.push_back({slot, rank, group.used(), group.used() + columns, false});
    return {static_cast<int64_t>(g), static_cast<int64_t>(group.members.size()) - 1};
  }

  void pack(const Place& place, at::TensorList a, at::TensorList b) {
    Group& group = groups_[place.group];
    Member& member = group.members[place.member];
    BFloat16* to = group.b.data();
    member.finite = true;
    for (size_t s = 0; s < a.size(); ++s) {
      pack_a(group, member, a[s], s, a.size());
      member.finite &= pack_b(group, member, b[s], to);
      to += b[s].size(2) * group.width;
    }
  }

  static void pack_a(Group& group, const Member& member, const Tensor& a, int64_t s,
                     int64_t count) {
    const int64_t pairs = a.size(3) / 2, all = group.width * count;
    const int64_t columns = member.end - member.begin;
    // Pairs of inputs move together, as if they were one fp32: a cast that the kernel has to be
    // compiled for (-fno-strict-aliasing).
    const auto* from =
        reinterpret_cast<const float*>(a.const_data_ptr<BFloat16>() + member.slot * a.stride(0));
    float* to = reinterpret_cast<float*>(group.a.data()) + member.begin * count + s * columns;
    at::vec::transpose_mxn<float>(from, pairs, to, all, member.rank, pairs);
    for (int64_t i = 0; columns > member.rank && i < pairs; ++i) to[i * all + member.rank] = 0.f;
  }

  // Whether all of it is finite.
  static bool pack_b(Group& group, const Member& member, const Tensor& b, BFloat16* slice) {
    static const std::vector<uint16_t> zeros(kPanel, 0);
    const int64_t size = b.size(2), stride = b.stride(3), rank = member.rank;
    const auto* from =
        reinterpret_cast<const uint16_t*>(b.const_data_ptr<BFloat16>() + member.slot * b.stride(0));
    auto* to = reinterpret_cast<uint16_t*>(slice);
    bool finite = true;
    for (int64_t r = 0; r < rank; ++r)
      for (int64_t c = 0; c < size; ++c) finite &= (from[r * stride + c] & 0x7f80) != 0x7f80;
    for (int64_t c = 0; c < size; c += kPanel) {
      const int64_t panel = std::min(kPanel, size - c);
      uint16_t* rows = to + c * group.width + member.begin * panel;
      for (int64_t r = 0; r < rank; r += 2, rows += 2 * panel)
        interleave(from + r * stride + c, r + 1 < rank ? from + (r + 1) * stride + c : zeros.data(),
                   panel, rows);
    }
    return finite;
  }

  std::vector<Group> groups_;
  std::vector<int64_t> versions_;  // of the weights that are packed
};

}  // namespace loralloy
