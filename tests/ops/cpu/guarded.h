// Memory that ends, or begins, where memory that must not be touched does.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "../../../csrc/cpu/linear.h"

namespace skn {

inline void require(bool condition, const char* what) {
  if (condition) return;
  std::printf("%s\n", what);
  std::exit(1);
}

// Memory of `bytes` bytes with a page before or behind it that cannot be read.
class Guarded {
 public:
  Guarded(int64_t bytes, bool at_end) : page_(sysconf(_SC_PAGESIZE)), size_(round_up(bytes, page_) + 2 * page_) {
    memory_ = static_cast<char*>(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    require(memory_ != MAP_FAILED, "no memory");
    mprotect(memory_, page_, PROT_NONE);
    mprotect(memory_ + size_ - page_, page_, PROT_NONE);
    begin_ = at_end ? memory_ + size_ - page_ - bytes : memory_ + page_;
  }
  ~Guarded() { munmap(memory_, size_); }
  char* begin() const { return begin_; }

 private:
  int64_t page_, size_;
  char *memory_, *begin_;
};

}  // namespace skn
