#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace vmla::data {

/// The tensor of a file of torch.save whose bytes are `content`, fp32 and contiguous, with leading
/// sizes of 1 taken off as long as it has more than `dimensions`. UserError, which begins with
/// `name`, where model/io/torch_archive.h refuses the file, or its numbers are not fp32, fp16 or
/// bf16.
at::Tensor saved_tensor(const std::string& content, const std::string& name, int64_t dimensions);

/// Latents [.., C, F, H, W] or [.., F, C, H, W] with the frames in front of the channels. UserError
/// where none or both of the two sizes are the channels of Wan's VAE.
at::Tensor frames_first(const at::Tensor& latents, const std::string& name);

/// An embedding [T, D] without the rows of zeros behind the last other one; at least one row.
at::Tensor without_padding(const at::Tensor& text_TD);

/// "[21, 16, 60, 104]".
std::string shape_text(const std::vector<int64_t>& shape);

}  // namespace vmla::data
