#include "data/import/saved_tensor.h"

#include <ATen/ATen.h>

#include <cstring>
#include <optional>
#include <string_view>

#include "model/codec/latent_statistics.h"
#include "model/io/error.h"
#include "model/io/torch_archive.h"

namespace vmla::data {
namespace {

std::optional<at::ScalarType> scalar_type(std::string_view name) {
  if (name == "float32") return at::kFloat;
  if (name == "float16") return at::kHalf;
  if (name == "bfloat16") return at::kBFloat16;
  return std::nullopt;
}

}  // namespace

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

at::Tensor saved_tensor(const std::string& content, const std::string& name, int64_t dimensions) {
  const io::TorchTensor saved = io::parse_torch_tensor(content, name);
  const auto type = scalar_type(saved.type.name);
  if (!type)
    fail_user("{}: holds numbers of type {}, must be float32, float16 or bfloat16",
              name,
              saved.type.name);
  uint64_t last = 0;
  for (size_t i = 0; i < saved.shape.size(); ++i) {
    if (saved.shape[i] < 1)
      fail_user("{}: has the shape {}, which is empty", name, shape_text(saved.shape));
    last += static_cast<uint64_t>((saved.shape[i] - 1) * saved.stride[i]);
  }
  // A tar's members are not aligned as numbers must be.
  const uint64_t bytes = (last + 1) * saved.type.bytes;
  const at::Tensor elements = at::empty({static_cast<int64_t>(last) + 1}, *type);
  std::memcpy(elements.mutable_data_ptr(), content.data() + saved.begin, bytes);
  at::Tensor tensor = elements.as_strided(saved.shape, saved.stride).to(at::kFloat).contiguous();
  while (tensor.dim() > dimensions && tensor.size(0) == 1) tensor = tensor.squeeze(0);
  if (tensor.dim() != dimensions) {
    fail_user("{}: has the shape {}, must have {} sizes, or 1 in front of them",
              name,
              shape_text(saved.shape),
              dimensions);
  }
  return tensor;
}

at::Tensor frames_first(const at::Tensor& latents, const std::string& name) {
  const auto channels = static_cast<int64_t>(model::LatentStatistics::wan21().mean.size());
  const bool channels_first = latents.size(-4) == channels;
  if (channels_first == (latents.size(-3) == channels)) {
    fail_user("{}: has the shape {}: {} [C, F, H, W] and [F, C, H, W] with {} channels",
              name,
              shape_text(latents.sizes().vec()),
              channels_first ? "it may be both" : "it is neither of",
              channels);
  }
  return channels_first ? latents.transpose(-4, -3).contiguous() : latents;
}

at::Tensor without_padding(const at::Tensor& text_TD) {
  const at::Tensor used = text_TD.ne(0).any(1).nonzero();
  const int64_t rows = used.numel() == 0 ? 1 : used[-1].item<int64_t>() + 1;
  return text_TD.narrow(0, 0, rows).contiguous();
}

}  // namespace vmla::data
