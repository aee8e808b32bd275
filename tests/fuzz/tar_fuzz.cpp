#include "data/import/tar_rows.h"
#include "model/io/torch_archive.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_folder.h"

namespace vmla {

/// Lists the samples of a shard, reads what they hold and finds its tensors.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::FuzzFolder folder;
  const auto file = folder.write("shard.tar", fuzz::as_text(data, size));
  fuzz::accepts([&] {
    data::TarRows shard(file);
    for (const data::TarRow& row : shard.rows()) {
      fuzz::expect(row.first_member <= row.last_member, "a sample has members");
      const data::TarContent content = shard.read(row);
      fuzz::expect(content.latent.has_value() == row.latent.has_value(), "what is listed is read");
      fuzz::expect(!row.latent || content.latent->size() == *row.latent, "it is read whole");
      for (const auto& member : {content.latent, content.path, content.text}) {
        if (!member) continue;
        fuzz::accepts([&] {
          const io::TorchTensor tensor = io::parse_torch_tensor(*member, "m");
          fuzz::expect(tensor.begin <= member->size(), "a tensor lies in its member");
        });
      }
    }
  });
  return 0;
}

}  // namespace vmla
