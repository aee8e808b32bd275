#include "data/encode/job_fingerprint.h"

namespace vmla::data {

void JobFingerprint::put(const Words& words, char separator) {
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) bytes(&separator, 1);
    text(words[i]);
  }
  text("\n");
}

}  // namespace vmla::data
