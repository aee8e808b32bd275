#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>

namespace vmla::data {

/// Writes a picture, [H, W, 3] bytes RGB, as PNG, atomically. RunError if it cannot.
void write_png(const std::filesystem::path& path, const at::Tensor& rgb_HW3);

}  // namespace vmla::data
