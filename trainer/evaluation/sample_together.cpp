#include "trainer/evaluation/sample_together.h"

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/distributed/collectives/shared_text.h"
#include "trainer/evaluation/rank_rounds.h"
#include "trainer/evaluation/video_files.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>

namespace vmla::trainer {
namespace {

/// The batches that the videos of a request are divided into.
struct Batches {
  int64_t videos;
  int64_t size;  // of each but the last
  Batches(const distributed::Mesh& mesh, const VideoSampler::Request& request)
      : videos(static_cast<int64_t>(request.prompts.size())) {
    const int64_t ranks = mesh.shape().data_ranks();
    size = std::max<int64_t>(1, std::min(request.batch, (videos + ranks - 1) / ranks));
  }

  int64_t count() const { return (videos + size - 1) / size; }
  int64_t begin(int64_t batch) const { return batch * size; }
  int64_t size_of(int64_t batch) const { return std::min(size, videos - begin(batch)); }
};

/// What `request` asks of batch `number`.
VideoSampler::Request batch_of(const VideoSampler::Request& request,
                               const Batches& batches,
                               int64_t number) {
  const int64_t begin = batches.begin(number), count = batches.size_of(number);
  VideoSampler::Request batch = request;
  batch.batch = batches.size;
  batch.prompts = {request.prompts.begin() + begin, request.prompts.begin() + begin + count};
  if (request.noise_PFCHW.defined())
    batch.noise_PFCHW = request.noise_PFCHW.narrow(0, begin, count);
  if (request.renoise_KPFCHW.defined())
    batch.renoise_KPFCHW = request.renoise_KPFCHW.narrow(1, begin, count);
  return batch;
}

void expect_shareable(const distributed::Mesh& mesh, const VideoSampler::Request& request) {
  // Rounds are of one length: each rank runs as many passes as the others.
  const bool over_time = std::ranges::any_of(
      request.prompts, [](const auto& prompt) { return !prompt.later.empty(); });
  TORCH_CHECK(mesh.shape().world == 1 || !over_time,
              "prompts over time are not for videos that ranks divide");
}

/// The number in the job of the rank that answers for item `i` of a round.
int64_t rank_of_item(const distributed::Mesh& mesh, int64_t i) {
  return i * mesh.shape().sequence;
}

/// `mine` of rank `root`, a tensor like `like`. It reaches all ranks, of which the lead keeps it.
at::Tensor from_rank(const distributed::Mesh& mesh,
                     int64_t root,
                     const at::Tensor& mine,
                     const at::Tensor& like) {
  if (root == 0) return mine;
  const at::Tensor values =
      mesh.rank() == root ? mine.contiguous() : at::empty(like.sizes(), like.options());
  mesh.host().broadcast(values, root).wait();
  return values;
}

/// The lead's texts, none of which holds a NUL, on every rank.
std::vector<std::string> shared_texts(const distributed::Mesh& mesh,
                                      const std::vector<std::string>& texts) {
  std::string joined;
  for (const std::string& text : texts) joined += text + '\0';
  joined = distributed::shared_text(mesh.host(), joined);
  std::vector<std::string> shared;
  for (size_t at = 0; at < joined.size(); at += shared.back().size() + 1)
    shared.push_back(joined.substr(at, joined.find('\0', at) - at));
  return shared;
}

/// Makes the folder, or makes room in it. Returns the entries of what stays there: what the lead
/// finds. UserError on a rank that does not see the folder.
std::vector<std::string> prepare_folder(const distributed::Mesh& mesh,
                                        const VideoSampler::Request& request,
                                        const SampleFolder& out) {
  std::vector<std::string> kept;
  if (mesh.is_lead() && request.keeps_finished) {
    make_sample_folder(out.path);
    kept = samples_before(request, out.pixel_frames, out.path);
  } else if (mesh.is_lead()) {
    make_room_for_samples(out.path);
  }
  kept = shared_texts(mesh, kept);  // nobody goes on before the lead has
  if (!std::filesystem::is_directory(out.path)) {
    fail_user("{}: rank {} does not see the folder that rank 0 has made; all ranks must share it",
              out.path.string(),
              mesh.rank());
  }
  if (!mesh.is_lead()) io::remove_stale_temporaries(out.path);  // an earlier start's on its machine
  return kept;
}

}  // namespace

std::vector<std::string> sample_to_folder(const distributed::Mesh& mesh,
                                          const VideoSampler& sampler,
                                          const model::Network& network,
                                          const VideoSampler::Request& asked,
                                          const SampleFolder& out) {
  expect_shareable(mesh, asked);
  const std::vector<std::string> kept = prepare_folder(mesh, asked, out);
  const VideoSampler::Request request = without_samples(asked, kept);
  if (!kept.empty() && mesh.is_lead()) {
    log::info("{}: {} videos are there, {} are to be made",
              out.path.string(),
              kept.size(),
              request.prompts.size());
  }
  const VideoSampler::Source source = sampler.open(network, request.sampler);
  const Batches batches(mesh, request);
  VideoFiles::Encoders encoders;
  std::vector<std::string> made;
  const auto list = [&](const std::vector<std::string>& more) {
    std::vector<std::string> entries = kept;
    entries.insert(entries.end(), made.begin(), made.end());
    entries.insert(entries.end(), more.begin(), more.end());
    write_sample_list(entries, out.path);
  };
  for (const RankRound& round : rank_rounds(mesh, batches.count())) {
    const VideoSampler::Request own = batch_of(request, batches, round.mine);
    std::optional<VideoFiles> files;
    if (round.counts) {
      // Started before the first chunk, they are ready when it is.
      while (encoders.size() < own.prompts.size()) encoders.push_back(data::start_video_process());
      files.emplace(sampler, own, out.pixel_frames, out.path, out.save_latents, encoders);
    }
    std::vector<std::string> finished;  // of this rank
    sampler.sample(source, own, [&](const SampledChunk& chunk) {
      if (!files || !files->take(chunk)) return;
      finished.push_back(sample_entry(files->records()[chunk.prompt], own));
      if (mesh.shape().world == 1) list(finished);
    });
    for (int64_t i = 0; i < round.items; ++i) {
      for (int64_t place = 0; place < batches.size_of(round.first + i); ++place) {
        const bool is_mine = files && mesh.rank() == rank_of_item(mesh, i);
        const std::string entry = is_mine ? finished[static_cast<size_t>(place)] : "";
        made.push_back(distributed::shared_text(mesh.host(), entry, rank_of_item(mesh, i)));
      }
    }
    if (mesh.is_lead()) list({});
  }
  return made;
}

std::vector<SampledVideo> sample_videos_together(
    const distributed::Mesh& mesh,
    const VideoSampler& sampler,
    const model::Network& network,
    const VideoSampler::Request& request,
    const std::function<void(int64_t latent_frames)>& progress) {
  expect_shareable(mesh, request);
  const Batches batches(mesh, request);
  const auto videos_of = [&](const RankRound& round) {
    return std::min(round.items * batches.size, batches.videos - batches.begin(round.first));
  };
  const VideoSampler::Source source = sampler.open(network, request.sampler);
  std::vector<SampledVideo> videos;
  for (const RankRound& round : rank_rounds(mesh, batches.count())) {
    const VideoSampler::Request own = batch_of(request, batches, round.mine);
    std::vector<std::vector<at::Tensor>> latents(own.prompts.size());
    const auto pixels = sampler.sample_pixels(source, own, [&](const SampledChunk& chunk) {
      latents[chunk.prompt].push_back(chunk.latents_FCHW);
      const bool is_chunk_whole = chunk.prompt + 1 == own.prompts.size();
      if (progress && is_chunk_whole) progress(chunk.latents_FCHW.size(0) * videos_of(round));
    });
    const at::Tensor some_latents = at::cat(latents[0]);
    for (int64_t i = 0; i < round.items; ++i) {
      const int64_t root = rank_of_item(mesh, i);
      for (int64_t place = 0; place < batches.size_of(round.first + i); ++place) {
        SampledVideo mine;
        if (mesh.rank() == root) {
          const auto at = static_cast<size_t>(place);
          mine = {at::cat(latents[at]), pixels[at]};
        }
        SampledVideo video{from_rank(mesh, root, mine.latents_FCHW, some_latents),
                           from_rank(mesh, root, mine.pixels_F3HW, pixels[0])};
        if (mesh.is_lead()) videos.push_back(std::move(video));
      }
    }
  }
  return videos;
}

}  // namespace vmla::trainer
