#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/element.h"

namespace vmla::tests::host_cuda {

using kernels::Element;

/// Rows of fp32 or bf16 numbers with a gap behind each and an offset before the first, in memory
/// that ends with the last number: AddressSanitizer sees the first byte behind it. All is NaN until
/// it is written, gaps for good.
class Buffer {
 public:
  Buffer(Element element, int64_t rows, int64_t D, int64_t gap = 0, int64_t offset = 0);

  /// Numbers in [-2, 2) that depend on `stream` and their place, as the element holds them.
  Buffer& draw(uint64_t stream);
  void wipe();
  void set(int64_t row, int64_t d, double value);
  double at(int64_t row, int64_t d) const;

  void* data();
  float* floats() { return static_cast<float*>(data()); }
  int64_t stride() const { return stride_; }
  int64_t rows() const { return rows_; }
  int64_t channels() const { return D_; }
  Element element() const { return element_; }
  const std::vector<char>& bytes() const { return bytes_; }

 private:
  size_t place(int64_t row, int64_t d) const;
  Element element_;
  int64_t rows_, D_, stride_, offset_;
  std::vector<char> bytes_;
};

/// What a kernel should give, and what its rounding errors are proportional to: the sum of what
/// its terms can be at most.
struct Expected {
  double value, size;
};

/// Expects every number of `actual` within rounding: `roundings` of 2^-24 of the expected size, and
/// of bf16 half a unit of its last place beside.
void expect_near(const std::string& what,
                 const Buffer& actual,
                 double roundings,
                 const std::function<Expected(int64_t row, int64_t d)>& expected);

/// Runs `launch` once for each order of threads and blocks, each time on wiped outputs, and expects
/// CUDA's success and the same bytes every time, unwritten ones included.
void run_in_all_orders(const std::string& what,
                       const std::vector<Buffer*>& outputs,
                       const std::function<int()>& launch);

/// How many additions follow each other where 32 lanes sum a row, each up to eight channels at
/// once: fewer than this.
double row_roundings(int64_t D);
/// The same where a block sums the tokens of a chunk, and then the chunks are summed.
double token_roundings(int64_t tokens);

}  // namespace vmla::tests::host_cuda
