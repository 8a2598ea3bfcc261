// Made by: manage.py rollout types property-classification

export interface Properties {
  id: string;
  title: string;
  description: string;
  address: string;
  city: string;
  postal_code: string;
  price: string | null;
  bedrooms: number | null;
  bathrooms: string | null;
  area: string | null;
  latitude: number | null;
  longitude: number | null;
  created_at: string;
  updated_at: string;
  type: string | null;
  status: string | null;
}

export interface PropertyImages {
  id: string;
  url: string;
  position: number;
  created_at: string;
  property_id: string;
}
