//! What it tells of its user, where the dialect has words for it.

pub const DISPLAY_NAME: &str = "Ana <Silva> & \"Cia\" 'é漢😀";
pub const CODE: &str = "A-0042 <&>";
pub const ROLE: &str = "gerente & caixa <é>";
pub const COMPANY_TYPE: &str = "'Matriz' \"&\"";
