// The activations of chosen neurons, taken or recorded while a slice of activations is in the cache.

namespace skn::SKN_ISA {
namespace {

// The chosen neurons among the `neurons` of a slice from `f` on.
template <typename Stored>
class ChosenOfSlice {
 public:
  ChosenOfSlice(const Chosen& chosen, int64_t f, int64_t neurons) : chosen_(chosen), f_(f) {
    while (first_ < chosen.count && chosen.neuron[first_] < f) ++first_;
    last_ = first_;
    while (last_ < chosen.count && chosen.neuron[last_] < f + neurons) ++last_;
  }

  // `row` counts the rows of the call, and `act` are its activations of the slice.
  void exchange(int64_t row, Stored* act) const {
    if (chosen_.values != nullptr && chosen_.source[row] >= 0) {
      const Stored* given = static_cast<const Stored*>(chosen_.values) + chosen_.source[row] * chosen_.count;
      for (int64_t k = first_; k < last_; ++k) act[chosen_.neuron[k] - f_] = given[k];
    }
    if (chosen_.recorded == nullptr) return;
    Stored* record = static_cast<Stored*>(chosen_.recorded) + row * chosen_.count;
    for (int64_t k = first_; k < last_; ++k) record[k] = act[chosen_.neuron[k] - f_];
  }

 private:
  const Chosen& chosen_;
  const int64_t f_;
  int64_t first_ = 0, last_ = 0;
};

}  // namespace
}  // namespace skn::SKN_ISA
