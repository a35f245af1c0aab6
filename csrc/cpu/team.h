// Threads that share the parts of one computation after the other, without a barrier: whoever is free takes the next part.
// So a thread that the system delays, or never starts, holds up no part except the one that it has taken.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

namespace skn {

class Team {
 public:
  // Computes a part of what `context` points at.
  using Task = void(const void* context, int64_t part);

  explicit Team(int64_t threads) : threads_(threads) {}
  int64_t threads() const { return threads_; }

  // Every thread of the team calls this function. The first thread leads: it runs `lead`, which calls `share`. The others
  // help until it ends. `lead` must not throw, or the others would help for ever.
  template <typename Lead>
  void join(const Lead& lead) {
    if (led_.exchange(true)) {
      help();
    } else {
      lead();
      done_.store(true, std::memory_order_release);
    }
  }

  // Calls task(context, part) for all parts 0 … n − 1, and returns after the last of them. Only the leader calls `share`.
  void share(int64_t n, const void* context, Task* task) {
    context_ = context;
    task_ = task;
    finished_.store(0, std::memory_order_relaxed);
    next_.store(static_cast<uint64_t>(n) << 32, std::memory_order_release);
    work();
    for (int tries = 0; finished_.load(std::memory_order_acquire) < n; ++tries) wait(tries);
  }

 private:
  void help() {
    for (int tries = 0; !done_.load(std::memory_order_acquire); ++tries) {
      if (work()) tries = 0;
      wait(tries);
    }
  }

  // Takes parts while there are any.
  bool work() {
    for (bool worked = false;; worked = true) {
      if (is_taken(next_.load(std::memory_order_relaxed))) return worked;
      const uint64_t mine = next_.fetch_add(1, std::memory_order_acq_rel);
      if (is_taken(mine)) return worked;  // then task_ may already be changing
      task_(context_, static_cast<int64_t>(mine & kPart));
      finished_.fetch_add(1, std::memory_order_release);
    }
  }

  static void wait(int tries) {
    if (tries > 1000) return std::this_thread::yield();  // others may need this processor
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }

  static constexpr uint64_t kPart = 0xffffffff;
  static bool is_taken(uint64_t next) { return (next & kPart) >= next >> 32; }

  const int64_t threads_;
  std::atomic<bool> led_{false}, done_{false};
  // The number of parts in the high half, the next part in the low half: one step reads both, of the same computation.
  alignas(64) std::atomic<uint64_t> next_{0};
  alignas(64) std::atomic<int64_t> finished_{0};
  const void* context_ = nullptr;
  Task* task_ = nullptr;
};

}  // namespace skn
