// auroc, compiled once for each instruction set. Each column is sorted by radix with the labels beside the keys. Its
// ranks are then summed by class.
#include "auroc_keys.h"

namespace skn::SKN_ISA {
namespace {

// Up to so many examples, shorter digits are faster, because their tables take less time.
constexpr int64_t kFew = 3000;

// Entries that are looked at together.
constexpr int64_t kChunk = 32;

// Memory of a thread, without initial values.
template <typename T>
class Memory {
 public:
  explicit Memory(int64_t size)
      : data_(static_cast<T*>(::operator new(static_cast<size_t>(size) * sizeof(T), std::align_val_t{64}))) {}
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { ::operator delete(data_, std::align_val_t{64}); }
  operator T*() const { return data_; }

 private:
  T* data_;
};

// A label is stored as wide as the key beside it.
template <typename K>
struct Entry {
  K key, label;
};

// Sorts `examples` keys by digits of `bits` bits. `rough` digits from the top leave few exchanges to a sort by insertion.
template <typename K, int bits, int rough>
class Sorter {
  static constexpr int kKey = 8 * sizeof(K), kAll = (kKey + bits - 1) / bits, kBins = 1 << bits;

 public:
  explicit Sorter(int64_t n) : n_(n), a_(n + 1), b_(n + 1), bin_(kAll * kBins) {}

  // The entries in order. They may be changed, and so may one entry behind them.
  Entry<K>* sort(const K* keys, const uint16_t* label) {
    const auto entry = [=](int64_t i) { return Entry<K>{keys[i], label[i]}; };
    Entry<K>* const found = by_digits<rough>(entry);
    return rough == kAll || insert(found) ? found : by_digits<kAll>(entry);
  }

 private:
  // The digit d from the top. The last one may be shorter.
  template <int d>
  static int64_t digit(K key) {
    constexpr int width = std::min(bits, kKey - d * bits), shift = kKey - d * bits - width;
    return key >> shift & ((1 << width) - 1);
  }

  template <int digits, typename Source>
  Entry<K>* by_digits(const Source& source) {
    std::memset(bin_, 0, digits * kBins * sizeof(uint32_t));
    for (int64_t i = 0; i < n_; ++i) count_digits<digits - 1>(source(i).key);
    for (int d = 0; d < digits; ++d) set_begins(bin_ + d * kBins);
    scatter<digits - 1>(source, a_);
    return higher<digits - 2>(a_, b_);
  }

  template <int d>
  void count_digits(K key) {
    ++bin_[d * kBins + digit<d>(key)];
    if constexpr (d > 0) count_digits<d - 1>(key);
  }

  static void set_begins(uint32_t* bin) {
    uint32_t begin = 0;
    for (int b = 0; b < kBins; ++b) {
      const uint32_t size = bin[b];
      bin[b] = begin;
      begin += size;
    }
  }

  template <int d, typename Source>
  void scatter(const Source& source, Entry<K>* __restrict to) {
    uint32_t* const bin = bin_ + d * kBins;
    for (int64_t i = 0; i < n_; ++i) {
      const Entry<K> entry = source(i);
      to[bin[digit<d>(entry.key)]++] = entry;
    }
  }

  template <int d>
  Entry<K>* higher(Entry<K>* from, Entry<K>* to) {
    if constexpr (d < 0) {
      return from;
    } else {
      scatter<d>([from](int64_t i) { return from[i]; }, to);
      return higher<d - 1>(to, from);
    }
  }

  // Gives up after two moves an entry, so that no column takes long.
  bool insert(Entry<K>* entry) const {
    int64_t left = 2 * n_;
    for (int64_t i = 1; i < n_; ++i) {
      if (entry[i].key >= entry[i - 1].key) continue;
      const Entry<K> moved = entry[i];
      int64_t j = i;
      for (; j > 0 && entry[j - 1].key > moved.key; --j, --left) entry[j] = entry[j - 1];
      entry[j] = moved;
      if (left <= 0) return false;
    }
    return true;
  }

  const int64_t n_;
  const Memory<Entry<K>> a_, b_;
  const Memory<uint32_t> bin_;
};

// Whether none of the first kChunk entries has the key of the next one.
template <typename K>
bool all_differ(const Entry<K>* entry) {
  K same = 0;
  for (int64_t i = 0; i < kChunk; ++i) same |= entry[i].key == entry[i + 1].key;
  return same == 0;
}

// Calls add(label, i, begin + end) for each entry i, whose group of equal keys has the places begin … end − 1. Behind the
// last entry stands another key. Chunks without equal keys take no branch that depends on data.
template <typename K, typename Add>
void over_places(const Entry<K>* entry, int64_t n, const Add& add) {
  for (int64_t first = 0; first < n;) {
    const int64_t last = std::min(first + kChunk, n);
    if (first + kChunk <= n && all_differ(entry + first)) {
      for (int64_t i = first; i < first + kChunk; ++i) add(entry[i].label, i, 2 * i + 1);
      first = last;
    }
    while (first < last) {
      const int64_t begin = first;
      while (entry[first].key == entry[begin].key) ++first;
      for (int64_t i = begin; i < first; ++i) add(entry[i].label, i, begin + first);
    }
  }
}

template <typename Stored, int bits, int rough>
class Unit {
  using K = Key<Stored>;
  static constexpr int64_t kColumns = 64 / sizeof(Stored);
  static constexpr int kTogether = 4;  // sums of a class, so that an addition does not wait for the one before

 public:
  explicit Unit(const AurocArgs& args)
      : args_(args),
        pitch_((args.n + 63) / 64 * 64),
        keys_(kColumns * pitch_),
        sorter_(args.n),
        count_(args.classes),
        sum_(kTogether * args.classes) {}

  void run(int64_t first, int64_t columns) {
    const Stored* source = static_cast<const Stored*>(args_.values) + first * args_.stride[1];
    load_columns(source, args_.stride, args_.n, columns, pitch_, static_cast<K*>(keys_));
    for (int64_t c = 0; c < columns; ++c) column(keys_ + c * pitch_, first + c);
  }

 private:
  void column(const K* keys, int64_t column) {
    Entry<K>* entry = sorter_.sort(keys, args_.label);
    std::copy_n(args_.count, args_.classes, static_cast<int64_t*>(count_));
    int64_t nan = 0;
    for (; nan < args_.n && entry[nan].key == kNan; ++nan) --count_[entry[nan].label];
    args_.nan[column] = nan;
    entry += nan;
    const int64_t n = args_.n - nan;
    if (n > 0) entry[n].key = static_cast<K>(~entry[n - 1].key);
    if (args_.classes == 2) {
      sum_of_two(entry, n);
    } else {
      sum_by_class(entry, n);
    }
    for (int64_t c = 0; c < args_.classes; ++c) {
      args_.area[c * args_.columns + column] = area(sum_[c], count_[c], n - count_[c]);
    }
  }

  // The sums of the two classes together are n².
  void sum_of_two(const Entry<K>* entry, int64_t n) {
    int64_t ones = 0;
    over_places(entry, n, [&](K label, int64_t, int64_t places) { ones += places & -static_cast<int64_t>(label); });
    sum_[0] = n * n - ones;
    sum_[1] = ones;
  }

  void sum_by_class(const Entry<K>* entry, int64_t n) {
    const int64_t classes = args_.classes;
    int64_t* const sum = sum_;
    std::fill_n(sum, kTogether * classes, int64_t{0});
    over_places(entry, n, [=](K label, int64_t i, int64_t places) { sum[i % kTogether * classes + label] += places; });
    for (int64_t c = 0; c < classes; ++c) {
      for (int t = 1; t < kTogether; ++t) sum[c] += sum[t * classes + c];
    }
  }

  // begin + end counts the examples below twice and the equal ones, with itself, once. Of all classes it sums to n², and
  // its pairs inside of a class make own².
  static double area(int64_t places, int64_t own, int64_t rest) {
    if (own == 0 || rest == 0) return std::numeric_limits<double>::quiet_NaN();
    return static_cast<double>(places - own * own) / static_cast<double>(2 * own * rest);
  }

  const AurocArgs& args_;
  const int64_t pitch_;
  const Memory<K> keys_;
  Sorter<K, bits, rough> sorter_;
  const Memory<int64_t> count_, sum_;
};

template <typename Stored, int bits, int rough>
void run(const AurocArgs& args, int64_t first, int64_t last) {
  Unit<Stored, bits, rough> unit(args);
  const int64_t width = auroc_unit(args.element);
  for (int64_t u = first; u < last; ++u) unit.run(u * width, std::min(width, args.columns - u * width));
}

}  // namespace

void auroc(const AurocArgs& args, int64_t first, int64_t last) {
  dispatch(args.element, [&](auto* stored) {
    using Stored = std::remove_cv_t<std::remove_pointer_t<decltype(stored)>>;
    constexpr int size = sizeof(Stored);
    if constexpr (size == 2) {
      run<Stored, 8, 2>(args, first, last);
    } else if (args.n <= kFew) {
      run<Stored, 9, size == 8 ? 3 : 2>(args, first, last);
    } else {
      run<Stored, 11, size == 8 ? 3 : 2>(args, first, last);
    }
  });
}

}  // namespace skn::SKN_ISA
