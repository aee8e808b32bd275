#include "tests/kernels/host_cuda/buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/token_chunks.h"
#include "tests/kernels/host_cuda/grid.h"

namespace vmla::tests::host_cuda {
namespace {

size_t bytes_of(Element element) {
  return element == Element::kFloat ? 4 : 2;
}

/// To the nearest bf16, ties to even, as a number.
float to_bf16(double value) {
  const uint32_t bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  return std::bit_cast<float>((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000u);
}

}  // namespace

Buffer::Buffer(Element element, int64_t rows, int64_t D, int64_t gap, int64_t offset)
    : element_(element), rows_(rows), D_(D), stride_(D + gap), offset_(offset) {
  const int64_t numbers = rows == 0 ? 0 : offset + (rows - 1) * stride_ + D;
  bytes_.assign(static_cast<size_t>(numbers) * bytes_of(element), '\xFF');
}

size_t Buffer::place(int64_t row, int64_t d) const {
  return static_cast<size_t>(offset_ + row * stride_ + d) * bytes_of(element_);
}

void* Buffer::data() {
  return bytes_.empty() ? bytes_.data() : bytes_.data() + place(0, 0);
}

void Buffer::wipe() {
  std::ranges::fill(bytes_, '\xFF');
}

void Buffer::set(int64_t row, int64_t d, double value) {
  if (element_ == Element::kFloat) {
    const auto number = static_cast<float>(value);
    std::memcpy(&bytes_[place(row, d)], &number, 4);
  } else {
    const auto half = static_cast<uint16_t>(std::bit_cast<uint32_t>(to_bf16(value)) >> 16);
    std::memcpy(&bytes_[place(row, d)], &half, 2);
  }
}

double Buffer::at(int64_t row, int64_t d) const {
  if (element_ == Element::kFloat) {
    float number;
    std::memcpy(&number, &bytes_[place(row, d)], 4);
    return static_cast<double>(number);
  }
  uint16_t half;
  std::memcpy(&half, &bytes_[place(row, d)], 2);
  return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(half) << 16));
}

Buffer& Buffer::draw(uint64_t stream) {
  for (int64_t row = 0; row < rows_; ++row) {
    for (int64_t d = 0; d < D_; ++d) {
      // The finisher of splitmix64, of the number's place.
      uint64_t z = (stream << 40) + static_cast<uint64_t>(row * D_ + d) + 0x9E3779B97F4A7C15u;
      z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
      z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
      set(row, d, static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-51 - 2);
    }
  }
  return *this;
}

void expect_near(const std::string& what,
                 const Buffer& actual,
                 double roundings,
                 const std::function<Expected(int64_t row, int64_t d)>& expected) {
  const double last_place = actual.element() == Element::kFloat ? 0 : 0x1p-8;
  for (int64_t row = 0; row < actual.rows(); ++row) {
    for (int64_t d = 0; d < actual.channels(); ++d) {
      const Expected e = expected(row, d);
      const double allowed = roundings * 0x1p-24 * e.size;
      // bf16 has 8 bits: half a unit of the last place is at most 2^-8 of the number.
      const double error = std::abs(actual.at(row, d) - e.value);
      if (error <= allowed + last_place * (std::abs(e.value) + allowed)) continue;
      FAIL() << what << ": element " << row << "," << d << " of " << actual.rows() << "x"
             << actual.channels() << " is " << actual.at(row, d) << ", expected " << e.value
             << ", allowed error " << allowed + last_place * std::abs(e.value);
    }
  }
}

void run_in_all_orders(const std::string& what,
                       const std::vector<Buffer*>& outputs,
                       const std::function<int()>& launch) {
  std::vector<std::vector<char>> first;
  for (const Order order : kOrders) {
    const ScopedGridSettings scope({.order = order, .only = grid_settings().only});
    for (Buffer* output : outputs) output->wipe();
    ASSERT_EQ(launch(), 0) << what;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (first.size() < outputs.size()) {
        first.push_back(outputs[i]->bytes());
      } else {
        ASSERT_TRUE(first[i] == outputs[i]->bytes())
            << what << ": output " << i << " depends on the order of threads";
      }
    }
  }
}

double row_roundings(int64_t D) {
  return static_cast<double>(D) / 32 + 8 + 5;
}

double token_roundings(int64_t tokens) {
  const int64_t chunks = kernels::token_chunks(tokens);
  const double in_a_chunk = static_cast<double>(tokens) / static_cast<double>(chunks) / 8 + 2;
  return in_a_chunk + 8 + static_cast<double>(chunks);
}

}  // namespace vmla::tests::host_cuda
