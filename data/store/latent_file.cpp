#include "data/store/latent_file.h"

#include <chrono>
#include <cstring>
#include <iterator>

#include "model/io/error.h"

namespace vmla::data {
namespace {

SealState sound_seal(const RegularFile& file) {
  SealState state = check_seal(file);
  if (state.seal == Seal::kBroken) {
    fail_user("{}: damaged: its structure is not what was written; make it again",
              file.path().string());
  }
  return state;
}

const char* name_of(ClipNumbers what) {
  switch (what) {
    case ClipNumbers::kLatents:
      return "/latents";
    case ClipNumbers::kOde:
      return "/ode";
    default:
      return "/text/embeddings";
  }
}

}  // namespace

LatentFile::LatentFile(const std::filesystem::path& path)
    : file_(path),
      seal_(sound_seal(file_)),
      index_(read_latent_index(file_, seal_.seal == Seal::kGood)) {
  if (seal_.clips == 0) return;
  if (seal_.clips != index_.clips.size()) {
    fail_user("{}: damaged: it holds {} clips and digests of {}; make it again",
              path.string(),
              index_.clips.size(),
              seal_.clips);
  }
  for (size_t what = 0; what < std::size(compared_); ++what) {
    if (seal_.digests_at[what] != 0)
      compared_[what] = std::make_unique<std::atomic<int64_t>[]>(seal_.clips);
  }
}

void LatentFile::read_latents(int64_t clip, uint16_t* values) const {
  const ClipArray& latents = index_.places.latents;
  const uint64_t offset = latents.offsets.at(static_cast<size_t>(clip));
  read_numbers(ClipNumbers::kLatents, clip, offset, values, latents.bytes);
}

void LatentFile::read_ode(int64_t clip, void* values) const {
  const ClipArray& ode = index_.places.ode;
  const uint64_t offset = ode.offsets.at(static_cast<size_t>(clip));
  read_numbers(ClipNumbers::kOde, clip, offset, values, ode.bytes);
}

void LatentFile::read_text(int64_t clip, float* rows) const {
  const auto row = static_cast<uint64_t>(index_.places.text_rows.at(static_cast<size_t>(clip)));
  const auto dim = static_cast<uint64_t>(index_.info.text_dim);
  const auto count =
      static_cast<uint64_t>(index_.clips.at(static_cast<size_t>(clip)).text_rows) * dim;
  if (!index_.text.empty()) {
    std::memcpy(rows, index_.text.data() + row * dim, count * sizeof(float));
    expect_as_written(ClipNumbers::kText, clip, rows, count * sizeof(float));
  } else {
    const uint64_t offset = index_.places.text_offset + row * dim * sizeof(float);
    read_numbers(ClipNumbers::kText, clip, offset, rows, count * sizeof(float));
  }
}

void LatentFile::read_numbers(
    ClipNumbers what, int64_t clip, uint64_t offset, void* into, size_t count) const {
  // Asked for first: what is changed while it is being read is compared again the next time.
  const int64_t changed = compared_[static_cast<size_t>(what)] ? file_.changed_at() : 0;
  if (!file_.read(offset, into, count)) {
    fail_user("{}: {}: the file was truncated while in use", path().string(), name_of(what));
  }
  if (changed == 0) return;
  std::atomic<int64_t>& compared = compared_[static_cast<size_t>(what)][static_cast<size_t>(clip)];
  if (compared.load(std::memory_order_relaxed) == changed) return;
  expect_as_written(what, clip, into, count);
  // File systems tell times in steps of milliseconds. A file that was changed just now may be
  // changed again within the step, and would look the same.
  constexpr std::chrono::seconds kSettled(1);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  if (now - std::chrono::nanoseconds(changed) > kSettled)
    compared.store(changed, std::memory_order_relaxed);
}

void LatentFile::expect_as_written(ClipNumbers what,
                                   int64_t clip,
                                   const void* numbers,
                                   size_t count) const {
  const auto i = static_cast<size_t>(clip);
  if (is_as_written(file_, seal_, what, i, numbers, count)) return;
  fail_user("{}: {}: clip {} is damaged: it is not what was written; make the dataset again",
            path().string(),
            name_of(what),
            clip);
}

}  // namespace vmla::data
