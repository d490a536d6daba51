// Sharing out work among threads.

#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>

namespace loralloy {

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

}  // namespace loralloy
