// Which columns of a module's packed bank a step uses, and how few products they are.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "packed.h"
#include "step.h"

namespace loralloy {

// A slot in a group that the step uses.
struct Column {
  int64_t group;
  int64_t begin;
  int64_t end;
  int64_t slot;  // among the step's; -1 if the step has no use for it
  bool finite;
};

// Columns of a group that go through one product.
struct Run {
  int64_t group;
  int64_t begin;
  int64_t end;
};

// What a step makes of a module's packed bank.
class Layout {
 public:
  Layout(const PackedBank& bank, const std::vector<Place>& places, const Step& step)
      : bank_(bank), step_(step) {
    std::vector<std::vector<int64_t>> slots;
    for (const Group& group : bank.groups()) slots.emplace_back(group.members.size(), -1);
    for (size_t j = 0; j < places.size(); ++j) slots[places[j].group][places[j].member] = j;
    columns_.resize(places.size());
    for (size_t g = 0; g < slots.size(); ++g) {
      in_use_.push_back(std::ranges::any_of(slots[g], [](int64_t j) { return j >= 0; }));
      for (size_t m = 0; in_use_[g] && m < slots[g].size(); ++m) {
        const Member& member = bank.groups()[g].members[m];
        const Column column{int64_t(g), member.begin, member.end, slots[g][m], member.finite};
        order_.push_back(column);
        if (column.slot >= 0) columns_[column.slot] = column;
      }
    }
  }

  const Group& group(int64_t g) const { return bank_.groups()[g]; }
  bool in_use(int64_t g) const { return in_use_[g]; }
  int64_t groups() const { return bank_.groups().size(); }
  const Column& column(int64_t j) const { return columns_[j]; }

  // The products of the tokens from `begin` to `end`. Slots between two that are in use go along
  // with them, with gates of 0, if a zero times any of their weights is a zero.
  void runs(int64_t begin, int64_t end, std::vector<Run>& found) const {
    found.clear();
    bool open = false;
    for (const Column& column : order_) {
      if (!uses(column.slot, begin, end)) {
        open &= column.finite;
        continue;
      }
      if (open && found.back().group == column.group)
        found.back().end = column.end;
      else
        found.push_back({column.group, column.begin, column.end});
      open = true;
    }
  }

 private:
  bool uses(int64_t j, int64_t begin, int64_t end) const {
    if (j < 0) return false;
    const int32_t* last = step_.token + step_.first(j + 1);
    const int32_t* hit =
        std::lower_bound(step_.token + step_.first(j), last, static_cast<int32_t>(begin));
    return hit != last && *hit < end;
  }

  const PackedBank& bank_;
  const Step& step_;
  std::vector<bool> in_use_;     // by group
  std::vector<Column> order_;    // of the groups in use, by columns
  std::vector<Column> columns_;  // by the step's slots
};

}  // namespace loralloy
