//! From binary to decimal and back with the approximations of SQLite 3.54, digit for digit and bit for bit.

/// The leading 96 bits of 10^(27 * (place - 13)), cut off; in the place of 10^0 those of 1/10.
const POWERS: [u128; 26] = [
    0x8049_a4ac_0c58_11ae_205b_896d,
    0xcf42_894a_5dce_35ea_5206_4cad,
    0xa76c_5823_38ed_2621_af2a_f2b8,
    0x873e_4f75_e222_4e68_5a77_44a7,
    0xda7f_5bf5_9096_6848_af39_a475,
    0xb080_392c_c434_9dec_bd8d_794e,
    0x8e93_8662_882a_f53e_547e_b47b,
    0xe658_29b3_046b_0afa_0cb4_a5a3,
    0xba12_1a46_50e4_ddeb_92f3_4d62,
    0x964e_858c_91ba_2655_3a6a_07f9,
    0xf2d5_6790_ab41_c2a2_fae2_7299,
    0xc428_d05a_a475_1e4c_aa97_e14c,
    0x9e74_d1b7_91e0_7e48_775e_a265,
    0xcccc_cccc_cccc_cccc_cccc_cccc,
    0xcecb_8f27_f420_0f3a_0000_0000,
    0xa70c_3c40_a64e_6c51_9990_90b6,
    0x86f0_ac99_b4e8_dafd_69a0_28bb,
    0xda01_ee64_1a70_8de9_e80e_6f48,
    0xb01a_e745_b101_e9e4_5ec0_5dd0,
    0x8e41_ade9_fbeb_c27d_1458_8f14,
    0xe5d3_ef28_2a24_2e81_8f16_68c9,
    0xb9a7_4a06_37ce_2ee1_6d95_3e2c,
    0x95f8_3d0a_1fb6_9cd9_4abd_af10,
    0xf24a_01a7_3cf2_dccf_bc63_3b39,
    0xc3b8_3581_09e8_4f07_0a86_2f81,
    0x9e19_db92_b4e3_1ba9_6c07_a2c2,
];

/// The leading 96 bits of a power of ten.
fn power_of_ten(power: i32) -> u128 {
    if power == -1 {
        return POWERS[13];
    }
    let (group, rest) = (power.div_euclid(27), power.rem_euclid(27));
    // A power of five below 5^28 has 64 bits or fewer, and the same leading bits.
    let five = 5_u64.pow(rest.unsigned_abs());
    let base = five << five.leading_zeros();
    if group == 0 {
        return u128::from(base) << 32;
    }
    let scale = POWERS[usize::try_from(group + 13).unwrap_or_default()];
    if rest == 0 {
        return scale;
    }
    let (high, low) = (scale >> 32, scale & 0xffff_ffff);
    let product = (high * u128::from(base) + ((low * u128::from(base)) >> 32)) >> 32;
    // SQLite shifts a one in.
    if product >> 95 == 0 { (product << 1) | 1 } else { product }
}

/// The binary exponent of a power of ten, rounded down.
fn binary_exponent(power: i32) -> i32 {
    (power * 108_853) >> 15
}

/// The decimal exponent of a power of two, rounded down.
fn decimal_exponent(power: i32) -> i32 {
    (power * 78_913) >> 18
}

/// About eighteen digits and a power of ten for `mantissa * 2^exponent`; the mantissa's highest bit is set.
pub(super) fn to_decimal(mantissa: u64, exponent: i32) -> (u64, i32) {
    let power = 17 - decimal_exponent(exponent + 63);
    let scale = fitting(power_of_ten(power) >> 32);
    let product = (u128::from(mantissa) * u128::from(scale)) >> 64;
    let shifted = fitting(product) >> -(exponent + binary_exponent(power) + 2);
    // Halved, a half rounded up.
    ((shifted + ((shifted << 1) & 2)) >> 1, -power)
}

/// The number nearest to `digits * 10^power`.
pub(super) fn from_decimal(digits: u64, power: i32) -> f64 {
    if power < -348 {
        return 0.0;
    }
    if power > 347 {
        return f64::INFINITY;
    }
    let zeros = digits.leading_zeros().cast_signed();
    let bits = 64 - zeros;
    let scaled = binary_exponent(power);
    let mut exponent = 53 - bits - scaled;
    if exponent > 1074 {
        if exponent >= 1130 {
            return 0.0;
        }
        exponent = 1074;
    }
    let shift = -(exponent - zeros + scaled + 3);
    let rounded = rounded_product(digits << zeros, power_of_ten(power), shift);
    let too_long = rounded >= (1 << 55) - 2;
    let rounded = if too_long { (rounded >> 1) | (rounded & 1) } else { rounded };
    let exponent = exponent - i32::from(too_long);
    if exponent <= -972 {
        return f64::INFINITY;
    }
    let mantissa = (rounded + 1 + ((rounded >> 2) & 1)) >> 2;
    let hidden = 1 << 52;
    let biased = u64::try_from(1075 - exponent).unwrap_or_default();
    f64::from_bits(if mantissa & hidden == 0 { mantissa } else { (mantissa & !hidden) | (biased << 52) })
}

/// The product with a power of ten, shifted; its last bit tells whether anything was cut off.
fn rounded_product(digits: u64, power: u128, shift: i32) -> u64 {
    let (mut scale, mut rest) = (fitting(power >> 32), power & 0xffff_ffff);
    if rest != 0 {
        scale += 1;
        rest = !rest & 0xffff_ffff;
    }
    let product = u128::from(digits) * u128::from(scale);
    let mut high = fitting(product >> 64);
    let mut sticky = true;
    if high & ((1 << shift) - 1) == 0 {
        let middle = (product >> 32) & 0xffff_ffff;
        let excess = ((u128::from(digits) * (rest << 32)) >> 96) & 0xffff_ffff;
        // SQLite subtracts in 32 bits.
        sticky = (middle.wrapping_sub(excess) & 0xffff_ffff) > 1;
        high -= u64::from(middle < excess);
    }
    (high >> shift) | u64::from(sticky)
}

/// A number that is known to fit.
fn fitting(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
