#pragma once

#include <cstdint>

namespace vmla::kernels {

/// What the generator sees of a DrawKey: 64 bits of key and the upper 96 bits of a counter whose
/// lowest word is free for the low half of the block index. Packing: see pack_key.
struct PhiloxKey {
  uint32_t key[2];
  uint32_t step_low;
  uint32_t sample_low;
};

/// Philox4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011), in place on
/// the counter.
inline void philox4x32_10(uint32_t counter[4], uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = static_cast<uint64_t>(0xD2511F53u) * counter[0];
    const uint64_t product1 = static_cast<uint64_t>(0xCD9E8D57u) * counter[2];
    const uint32_t old1 = counter[1];
    const uint32_t old3 = counter[3];
    counter[0] = static_cast<uint32_t>(product1 >> 32) ^ old1 ^ key0;
    counter[1] = static_cast<uint32_t>(product1);
    counter[2] = static_cast<uint32_t>(product0 >> 32) ^ old3 ^ key1;
    counter[3] = static_cast<uint32_t>(product0);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

/// The four words of one block of 64-bit index.
inline void philox_words(const PhiloxKey& key, uint64_t block, uint32_t words[4]) {
  words[0] = static_cast<uint32_t>(block);
  words[1] = static_cast<uint32_t>(block >> 32);
  words[2] = key.step_low;
  words[3] = key.sample_low;
  philox4x32_10(words, key.key[0], key.key[1]);
}

}  // namespace vmla::kernels
