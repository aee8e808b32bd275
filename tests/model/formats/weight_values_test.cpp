#include "model/formats/weight_values.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "model/io/error.h"
#include "tests/support/allocation_log.h"
#include "tests/support/temporary_folder.h"

namespace vmla::model {
namespace {

std::string complaint(const at::Tensor& tensor) {
  return error_of<UserError>([&] { check_weight_values("a.b", tensor, "x.safetensors"); });
}

TEST(WeightValues, EveryFiniteNumberPasses) {
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    const at::Tensor all = at::arange(-(1 << 15), 1 << 15).to(at::kShort).view(type);
    EXPECT_NO_THROW(check_weight_values("a", all.masked_select(all.isfinite()), "x")) << type;
  }
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const double most =
        type == at::kFloat ? std::numeric_limits<float>::max() : std::numeric_limits<double>::max();
    const at::Tensor odd = at::tensor({most, -most, 0.0, -0.0, 1e-45, 5e-324}, type);
    EXPECT_NO_THROW(check_weight_values("a", odd, "x")) << type;
  }
  EXPECT_NO_THROW(check_weight_values("a", at::empty({0, 3}), "x"));
}

TEST(WeightValues, OneThatIsNotIsFoundWhereverItIs) {
  constexpr int64_t kSize = (1 << 17) + 3;
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    for (const double value : {NAN, INFINITY, -INFINITY}) {
      for (const int64_t place : {int64_t{0}, int64_t{1 << 16}, kSize - 1}) {
        at::Tensor tensor = at::ones({kSize}, type);
        tensor[place] = value;
        EXPECT_EQ(complaint(tensor),
                  "x.safetensors: 1 of 131075 elements of tensor 'a.b' are NaN or infinite; these "
                  "weights cannot be used");
      }
    }
  }
  at::Tensor square = at::ones({300, 300});
  square[7][299] = NAN;
  square[299][299] = INFINITY;
  EXPECT_NE(complaint(square.t()).find("2 of 90000"), std::string::npos);
  EXPECT_NE(complaint(square.slice(1, 1, 300, 2)).find("2 of 45000"), std::string::npos);
}

TEST(WeightValues, OtherKindsOfNumbersAreRefused) {
  for (const at::ScalarType type : {at::kChar, at::kInt, at::kBool, at::kFloat8_e4m3fn}) {
    const std::string text = complaint(at::zeros({2}, at::kFloat).to(type));
    EXPECT_NE(text.find("weights must be F32, F16, BF16 or F64"), std::string::npos) << text;
  }
}

TEST(WeightValues, TakeNoMemory) {
  const at::Tensor large = at::ones({1 << 20}, at::kBFloat16);
  EXPECT_EQ(tests::peak_bytes_of([&] { check_weight_values("a", large, "x"); }), 0);
}

}  // namespace
}  // namespace vmla::model
