// Memory on cache lines, filled with zeros.
namespace skn::SKN_ISA {
namespace {

template <typename T>
class Array {
 public:
  explicit Array(int64_t size)
      : data_(static_cast<T*>(::operator new(static_cast<size_t>(size) * sizeof(T), std::align_val_t{64}))) {
    std::memset(static_cast<void*>(data_), 0, static_cast<size_t>(size) * sizeof(T));
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { ::operator delete(data_, std::align_val_t{64}); }
  operator T*() const { return data_; }

 private:
  T* data_;
};

}  // namespace
}  // namespace skn::SKN_ISA
