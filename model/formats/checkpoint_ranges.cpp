#include "model/formats/checkpoint_ranges.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstring>

#include "model/formats/stored_types.h"
#include "model/io/error.h"
#include "model/io/mapped_file.h"
#include "model/io/quoted_name.h"

namespace vmla::model {
namespace {

/// A view of `count` elements in the file; a copy where they lie misaligned.
at::Tensor stored_elements(char* data, int64_t count, io::StoredType type) {
  const auto options = at::TensorOptions(scalar_type_of(type));
  const uint64_t element = io::stored_type_bytes(type);
  if (reinterpret_cast<uintptr_t>(data) % element == 0)
    return at::from_blob(data, {count}, options);
  at::Tensor copy = at::empty({count}, options);
  std::memcpy(copy.mutable_data_ptr(), data, static_cast<size_t>(count) * element);
  return copy;
}

}  // namespace

CheckpointRanges::CheckpointRanges(const CheckpointFolder& checkpoint) : checkpoint_(checkpoint) {}
CheckpointRanges::~CheckpointRanges() = default;

const io::ManifestTensor& CheckpointRanges::tensor(const std::string& role,
                                                   const std::string& name) const {
  const auto& tensors = checkpoint_role(checkpoint_, role).tensors;
  const auto found = tensors.find(name);
  if (found == tensors.end()) {
    fail_user("{}: role {} has no tensor {}",
              checkpoint_.path.string(),
              io::quoted_name(role),
              io::quoted_name(name));
  }
  return found->second;
}

const io::MappedFile& CheckpointRanges::file(const std::string& name) {
  auto& mapped = files_[name];
  if (mapped) return *mapped;
  const auto path = checkpoint_.path / name;
  auto opened = std::make_unique<io::MappedFile>(path);
  // The manifest was compared with the file's size when it was read; a page beyond the end of a
  // file that has shrunk since would be a signal, not an error.
  if (opened->size() != checkpoint_.manifest.files.at(name).bytes) {
    fail_user("{}: changed while it was in use", path.string());
  }
  mapped = std::move(opened);
  return *mapped;
}

void CheckpointRanges::read(const std::string& role,
                            const std::string& name,
                            int64_t first,
                            const at::Tensor& into) {
  const at::NoGradGuard no_grad;
  const io::ManifestTensor& stored = tensor(role, name);
  const int64_t last = first + into.numel();
  int64_t elements = 1;
  for (const int64_t size : stored.shape) elements *= size;
  TORCH_CHECK(into.dim() == 1 && first >= 0 && last <= elements,
              "a range outside tensor ",
              name,
              ": ",
              first,
              " to ",
              last,
              " of ",
              elements);
  for (const io::ManifestPiece& piece : stored.pieces) {
    const auto piece_first = static_cast<int64_t>(piece.first);
    const int64_t begin = std::max(first, piece_first);
    const int64_t end = std::min(last, piece_first + static_cast<int64_t>(piece.count));
    if (begin >= end) continue;
    char* const data =
        file(piece.file).data() + piece.offset +
        static_cast<uint64_t>(begin - piece_first) * io::stored_type_bytes(stored.type);
    into.narrow(0, begin - first, end - begin)
        .copy_(stored_elements(data, end - begin, stored.type));
  }
}

}  // namespace vmla::model
