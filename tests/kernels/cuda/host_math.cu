// Runs on the host what csrc/cuda computes in single threads, and compares with plain loops. Prints "ok" or what failed.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../../../csrc/cuda/bits.h"

using namespace skn::cuda;

#define REQUIRE(condition, ...)                                \
  if (!(condition)) {                                          \
    std::printf("line %d: %s: ", __LINE__, #condition);        \
    std::printf(__VA_ARGS__);                                  \
    std::exit(1);                                              \
  }

static uint32_t state = 12345;
static int draw(int below) { return static_cast<int>((state = state * 1664525u + 1013904223u) >> 8) % below; }

// Few distinct values, so that many tie; zeros of both signs; a NaN where asked for.
static std::vector<float> column(int n, bool with_nan) {
  std::vector<float> out(n);
  for (float& value : out) value = static_cast<float>(draw(9) - 4) * (draw(2) ? 1.0f : -1.0f) / 3.0f;
  if (with_nan) out[n / 2] = std::numeric_limits<float>::quiet_NaN();
  return out;
}

// What the lanes of a warp do together by a ballot.
static Word word_of(const std::vector<float>& value, int i, int start) {
  Word word{0, 0};
  for (int lane = 0; lane < 32 && start + lane < i; ++lane) {
    const float earlier = value[start + lane];
    if (earlier > value[i]) word.greater |= 1u << lane;
    if (earlier > value[i] || earlier < value[i]) word.untied |= 1u << lane;
  }
  return word;
}

static void test_words() {
  for (int n : {0, 1, 2, 3, 31, 32, 33, 34, 64, 65, 66, 97, 351}) {
    const std::vector<float> x = column(n, n == 33), y = column(n, n == 97);
    int untied = 0, discordant = 0;
    long long words = 0, sum = 0, untied_pairs = 0;
    for (int i = 0; i < n; ++i) {
      REQUIRE(words_before_row(i) == words, "row %d of %d", i, n);
      for (int start = 0; start < i; start += 32, ++words) count_pairs(word_of(x, i, start), word_of(y, i, start), untied, discordant);
      for (int j = 0; j < i; ++j) {
        const int sign = concordance_of_pair(x[i], x[j], y[i], y[j]);
        sum += sign;
        untied_pairs += sign != 0;
      }
    }
    REQUIRE(words_before_row(n) == words, "n = %d", n);
    REQUIRE(untied == untied_pairs && untied - 2 * discordant == sum, "n = %d", n);
  }
}

static void test_ties() {
  for (int64_t t : {1, 2, 3, 7, 40}) {
    Ties ties;
    for (int64_t found = 0; found < t; ++found) add_row(found, ties);
    const int64_t expected[] = {t * (t - 1) / 2, t * (t - 1) * (t - 2), t * (t - 1) * (2 * t + 5)};
    for (int which = 0; which < 3; ++which) REQUIRE(tie_sum(ties, which) == expected[which], "sum %d, t = %ld", which, t);
  }
}

static void test_thresholds() {
  const float hard[] = {0.0f, -0.0f, 1.0f, -1.0f, 3.4028234663852886e38f, -3.4028234663852886e38f, 1.17549435e-38f,
                        1e-45f, -1e-45f, HUGE_VALF, -HUGE_VALF, 1.0f / 3};
  for (float near : hard) {
    for (int step = -1; step <= 1; ++step) {
      const double threshold = step ? std::nextafter(static_cast<double>(near), step * HUGE_VAL) : near;
      float limit;
      round_down(threshold, limit);
      for (float value : hard) {
        REQUIRE((value > limit) == (static_cast<double>(value) > threshold), "%g > %.17g", value, threshold);
      }
    }
  }
  float limit;
  round_down(std::nan(""), limit);
  REQUIRE(!(HUGE_VALF > limit), "a NaN threshold");
}

static void test_order() {
  for (int size : {1, 2, 7, 256}) {
    std::vector<int64_t> label(size);
    for (int64_t& one : label) one = draw(5);
    std::vector<int> example(size, -1);
    for (int i = 0; i < size; ++i) example[stable_rank(label.data(), size, i)] = i;
    for (int k = 1; k < size; ++k) {
      const int a = example[k - 1], b = example[k];
      REQUIRE(a >= 0 && b >= 0 && (label[a] < label[b] || (label[a] == label[b] && a < b)), "place %d of %d", k, size);
    }
  }
}

int main() {
  test_words();
  test_ties();
  test_thresholds();
  test_order();
  double sum = 1.0, sum_sq = 2.0;
  add_moments(widen(__float2half(0.5f)), sum, sum_sq);
  add_moments(widen(__float2bfloat16(-3.0f)), sum, sum_sq);
  REQUIRE(sum == -1.5 && sum_sq == 11.25, "%g, %g", sum, sum_sq);
  std::printf("ok\n");
}
